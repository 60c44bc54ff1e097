package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.channels.ReadableByteChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The constant tensors of an ONNX model file, and the nodes that say what they are for.
 *
 * <p>An ONNX file is one protobuf message (a {@code ModelProto}); its graph holds initializers
 * (weights: name, element type, shape, values) and nodes. That part of it is read here, and nothing
 * is run. Values stay where they are: in the mapped file, or in the one buffer that a stream was
 * read into. That memory belongs to the Java buffers handed out and goes with the last of them;
 * there is nothing to close. While a mapped file is in use, do not shorten it.
 *
 * <p>Files are not trusted: lengths, shapes and counts are checked against the bytes that are there
 * before anything of that size is allocated, and whatever is wrong is one {@link
 * MalformedFileException}. Values kept outside the file are refused. Immutable and safe to share
 * between threads.
 */
public final class OnnxWeights {
  /** Protobuf messages end at 2 GiB, and so do Java's buffers. */
  private static final int MAXIMUM_SIZE = Integer.MAX_VALUE - 8;

  private static final int FIRST_CAPACITY = 1 << 20;

  private final String source;
  private final Map<String, OnnxTensor> initializers;
  private final List<OnnxNode> nodes;

  private OnnxWeights(String source, ByteBuffer bytes) {
    OnnxParser parser = new OnnxParser(source);
    parser.model(bytes);
    this.source = source;
    this.initializers = Collections.unmodifiableMap(parser.initializers());
    this.nodes = List.copyOf(parser.nodes());
  }

  /**
   * Maps a file into memory and reads its structure; the values are paged in when they are used.
   *
   * @param path an ONNX file of less than 2 GiB
   * @return its tensors and nodes
   * @throws MalformedFileException if the file cannot be read or is not a sound ONNX file
   */
  public static OnnxWeights open(Path path) {
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      if (size > MAXIMUM_SIZE) {
        throw tooLarge(path.toString(), size + " bytes");
      }
      return new OnnxWeights(path.toString(), channel.map(FileChannel.MapMode.READ_ONLY, 0, size));
    } catch (IOException e) {
      throw new MalformedFileException(path + ": cannot be read: " + e, e);
    }
  }

  /**
   * Reads a model from the class path, such as one that a dependency carries in its jar.
   *
   * @param loader the class loader that sees it
   * @param name the resource's name, without a leading slash
   * @return its tensors and nodes, in memory outside the Java heap
   * @throws MalformedFileException if there is no such resource or it is not a sound ONNX file
   */
  public static OnnxWeights resource(ClassLoader loader, String name) {
    URL url = loader.getResource(name);
    if (url == null) {
      throw new MalformedFileException(
          name + ": not on the class path; add the artifact that carries it as a dependency");
    }
    try {
      URLConnection connection = url.openConnection();
      connection.setUseCaches(false);
      try (InputStream in = connection.getInputStream()) {
        long size = connection.getContentLengthLong();
        int expected = (int) Math.max(FIRST_CAPACITY, Math.min(size + 1, MAXIMUM_SIZE));
        return new OnnxWeights(name, readAll(in, name, expected));
      }
    } catch (IOException e) {
      throw new MalformedFileException(name + ": cannot be read: " + e, e);
    }
  }

  /**
   * Reads a model from a stream to its end.
   *
   * @param in the stream; the caller closes it
   * @param source what to call it in messages
   * @return its tensors and nodes, in memory outside the Java heap
   * @throws MalformedFileException if the stream fails or is not a sound ONNX file
   */
  public static OnnxWeights read(InputStream in, String source) {
    try {
      return new OnnxWeights(source, readAll(in, source, FIRST_CAPACITY));
    } catch (IOException e) {
      throw new MalformedFileException(source + ": cannot be read: " + e, e);
    }
  }

  /**
   * Reads a model that is in memory already.
   *
   * @param bytes the model, from the buffer's position to its limit, which stay as they are;
   *     shared, not copied, so do not write to it afterwards
   * @param source what to call it in messages
   * @return its tensors and nodes
   * @throws MalformedFileException if it is not a sound ONNX file
   */
  public static OnnxWeights of(ByteBuffer bytes, String source) {
    return new OnnxWeights(source, bytes);
  }

  /**
   * Where the model came from, for messages.
   *
   * @return a path or another name
   */
  public String source() {
    return source;
  }

  /**
   * The weights by name, in the order of the file.
   *
   * @return an unmodifiable map
   */
  public Map<String, OnnxTensor> initializers() {
    return initializers;
  }

  /**
   * One weight.
   *
   * @param name its name
   * @return the weight, or empty if there is none of that name
   */
  public Optional<OnnxTensor> initializer(String name) {
    return Optional.ofNullable(initializers.get(name));
  }

  /**
   * The operations of the graph, in the order of the file, which is an order of execution.
   *
   * @return an unmodifiable list
   */
  public List<OnnxNode> nodes() {
    return nodes;
  }

  private static ByteBuffer readAll(InputStream in, String source, int capacity)
      throws IOException {
    ReadableByteChannel channel = Channels.newChannel(in);
    ByteBuffer bytes = ByteBuffer.allocateDirect(capacity);
    while (channel.read(bytes) >= 0) {
      if (!bytes.hasRemaining()) {
        if (bytes.capacity() == MAXIMUM_SIZE) {
          throw tooLarge(source, "more");
        }
        int grown = (int) Math.min(2L * bytes.capacity(), MAXIMUM_SIZE);
        bytes = ByteBuffer.allocateDirect(grown).put(bytes.flip());
      }
    }
    return bytes.flip();
  }

  private static MalformedFileException tooLarge(String source, String size) {
    return new MalformedFileException(
        source + ": an ONNX file has at most " + MAXIMUM_SIZE + " bytes, this has " + size);
  }
}
