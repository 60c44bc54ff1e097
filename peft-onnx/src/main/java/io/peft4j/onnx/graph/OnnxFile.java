package io.peft4j.onnx.graph;

import io.peft4j.PeftException;
import io.peft4j.state.AtomicFiles;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * An ONNX file: a ModelProto in protobuf's wire format, of IR version {@value #IR_VERSION} and
 * opset {@value #OPSET}.
 *
 * <p>Fields, by their numbers in {@code onnx.proto}: ModelProto 1 IR version, 2 producer, 3 its
 * version, 7 graph, 8 operator sets, 14 metadata. GraphProto 1 nodes, 2 name, 5 constants, 11
 * inputs, 12 outputs, 13 shapes of other values. TensorProto 1 sizes, 2 type, 8 name, 9 values; or
 * 13 and 14, which say where in another file the values lie. That file, {@value #DATA} beside the
 * model, holds them one after the other, each from a multiple of {@value #ALIGNMENT} bytes. A
 * protobuf message cannot be larger than 2 GiB, so large models need it.
 *
 * <p>Fields may stand in any order, and so the metadata that is known last is appended to the file.
 */
public final class OnnxFile {
  /** Name of the file with the values of large models. */
  public static final String DATA = "model.onnx.data";

  /** The version of the operators. */
  public static final int OPSET = 17;

  private static final int IR_VERSION = 8;
  private static final int ALIGNMENT = 4096;

  /** Smaller constants stay in the model, where shape inference can see them. */
  private static final int SMALL = 1024;

  private OnnxFile() {}

  static void write(Path model, OnnxGraph graph, String name, String version, long mostInline) {
    long total = graph.initializers().stream().mapToLong(Initializer::bytes).sum();
    boolean external = total > mostInline;
    List<Initializer> apart = new ArrayList<>();
    List<byte[]> parts = new ArrayList<>();
    List<Initializer.Content> contents = new ArrayList<>();
    ProtobufMessage first = new ProtobufMessage();
    graph.nodes().forEach(node -> first.message(1, node));
    first.text(2, name);
    graph.inputs().forEach(input -> first.message(11, input));
    graph.outputs().forEach(output -> first.message(12, output));
    graph.values().forEach(value -> first.message(13, value));
    parts.add(first.toBytes());
    contents.add(channel -> {});
    long length = parts.get(0).length;
    long offset = 0;
    for (Initializer initializer : graph.initializers()) {
      boolean there = external && initializer.bytes() >= SMALL;
      byte[] tensor = (there ? initializer.external(DATA, offset) : initializer.inline()).toBytes();
      long body = tensor.length + (there ? 0 : initializer.bytes());
      byte[] head = new ProtobufMessage().head(5, body).toBytes();
      byte[] part = new byte[head.length + tensor.length];
      System.arraycopy(head, 0, part, 0, head.length);
      System.arraycopy(tensor, 0, part, head.length, tensor.length);
      parts.add(part);
      contents.add(there ? channel -> {} : initializer.content());
      length += head.length + body;
      if (there) {
        apart.add(initializer);
        offset = aligned(offset + initializer.bytes());
      }
    }
    if (length > Integer.MAX_VALUE) {
      throw new PeftException(
          model
              + ": the graph would take "
              + length
              + " bytes; allowed are 2 GiB, so keep weights in a file of their own");
    }
    byte[] head = head(graph, version, length);
    AtomicFiles.write(
        model,
        channel -> {
          Initializer.write(channel, ByteBuffer.wrap(head));
          for (int i = 0; i < parts.size(); i++) {
            Initializer.write(channel, ByteBuffer.wrap(parts.get(i)));
            contents.get(i).writeTo(channel);
          }
        });
    if (external) {
      AtomicFiles.write(model.resolveSibling(DATA), channel -> writeData(channel, apart));
    }
  }

  private static byte[] head(OnnxGraph graph, String version, long length) {
    ProtobufMessage head =
        new ProtobufMessage()
            .varint(1, IR_VERSION)
            .text(2, "peft4j")
            .text(3, version)
            .message(8, new ProtobufMessage().text(1, "").varint(2, OPSET));
    if (graph.usesMicrosoft()) {
      head.message(8, new ProtobufMessage().text(1, OnnxGraph.MICROSOFT).varint(2, 1));
    }
    return head.head(7, length).toBytes();
  }

  private static void writeData(FileChannel channel, List<Initializer> initializers)
      throws IOException {
    for (Initializer initializer : initializers) {
      long begin = aligned(channel.position());
      Initializer.write(channel, ByteBuffer.allocate((int) (begin - channel.position())));
      initializer.content().writeTo(channel);
      if (channel.position() != begin + initializer.bytes()) {
        throw new IOException(initializer.name() + " has another size than it should have");
      }
    }
  }

  private static long aligned(long offset) {
    return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /**
   * Adds metadata to a file.
   *
   * @param model the file
   * @param metadata keys and values, none of which is there yet
   * @throws PeftException if the file cannot be written
   */
  public static void addMetadata(Path model, Map<String, String> metadata) {
    ProtobufMessage entries = new ProtobufMessage();
    metadata.forEach((key, value) -> entries.message(14, Initializer.entry(key, value)));
    try (FileChannel channel = FileChannel.open(model, StandardOpenOption.APPEND)) {
      Initializer.write(channel, ByteBuffer.wrap(entries.toBytes()));
      channel.force(true);
    } catch (IOException e) {
      throw new PeftException(model + ": cannot be written: " + e, e);
    }
  }
}
