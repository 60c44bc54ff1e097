package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes safetensors files, byte for byte as the Rust library does.
 *
 * <p>The format is described at {@link SafeTensors}. Here the tensors lie in descending order of
 * {@link TensorType}, those of one type in the order of their names' UTF-8 bytes; the header lists
 * them in that order after {@code __metadata__}, without spaces but for the padding to a multiple
 * of 8 bytes. Several metadata keys are written in the order of the map (the Rust library writes
 * them in no fixed order).
 *
 * <p>Files may be of any size; no more than one tensor is in memory for the writing at a time. A
 * file appears whole or not at all, see {@link AtomicFiles}.
 */
public final class SafeTensorsWriter {
  /** Bytes that are converted or copied at once. */
  private static final int PIECE = 1 << 22;

  private SafeTensorsWriter() {}

  /** Writes the bytes of one tensor when its turn has come. */
  @FunctionalInterface
  public interface Source {
    /**
     * Writes them.
     *
     * @param sink takes exactly the tensor's bytes, in one or several calls
     * @throws IOException if that fails
     */
    void writeTo(Sink sink) throws IOException;
  }

  /** Takes the bytes of one tensor. */
  public interface Sink {
    /**
     * Takes some bytes.
     *
     * @param bytes all that remains in it, in the file's little-endian form
     * @throws IOException if the file cannot be written
     */
    void write(ByteBuffer bytes) throws IOException;

    /**
     * Takes the elements of an array, converted to the tensor's type if that is another
     * floating-point type.
     *
     * @param array array on any device; stays the caller's
     * @throws IOException if the file cannot be written
     */
    void write(NDArray array) throws IOException;
  }

  /**
   * A tensor to be written.
   *
   * @param name its name, not {@code __metadata__}
   * @param type its type in the file
   * @param shape its shape
   * @param source gives its bytes; called once for each file written
   */
  public record Entry(String name, TensorType type, Shape shape, Source source) {
    /**
     * A tensor whose bytes are there.
     *
     * @param name its name
     * @param type its type
     * @param shape its shape
     * @param bytes from position to limit, in the file's little-endian form; neither is changed
     * @return the tensor
     */
    public static Entry of(String name, TensorType type, Shape shape, ByteBuffer bytes) {
      return new Entry(name, type, shape, sink -> sink.write(bytes.duplicate()));
    }

    /**
     * An array in its own type.
     *
     * @param name its name
     * @param array any array; stays the caller's, who keeps it open until the file is written
     * @return the tensor
     * @throws PeftException if the format has no such type
     */
    public static Entry of(String name, NDArray array) {
      DataType type = array.getDataType();
      return of(
          name,
          array,
          TensorType.of(type)
              .orElseThrow(
                  () ->
                      new PeftException("tensor '" + name + "': " + type + " cannot be written")));
    }

    /**
     * An array in a type of choice.
     *
     * @param name its name
     * @param array any array; stays the caller's, who keeps it open until the file is written
     * @param type F32, F16, BF16 or F64 for an array of floating-point numbers (rounded to the
     *     nearest, by way of float32), else the array's own type
     * @return the tensor
     * @throws PeftException if the array is not converted to that type
     */
    public static Entry of(String name, NDArray array, TensorType type) {
      DataType from = array.getDataType();
      boolean same = type.dataType().filter(from::equals).isPresent();
      if (!same && !(from.isFloating() && type.isFloat32Readable())) {
        throw new PeftException(
            "tensor '"
                + name
                + "': "
                + from
                + " is not written as "
                + type
                + "; only floating-point types are converted, to F32, F16, BF16 and F64");
      }
      return new Entry(name, type, array.getShape(), sink -> sink.write(array));
    }

    /**
     * A tensor of another file, as it is there.
     *
     * @param store where it lies; stays the caller's, who keeps it open until the file is written
     * @param name its name, here and there
     * @return the tensor
     * @throws io.peft4j.MalformedFileException if there is no such tensor
     */
    public static Entry of(TensorStore store, String name) {
      TensorInfo info = store.info(name);
      return new Entry(
          name,
          info.type(),
          info.shape(),
          sink -> {
            for (long done = 0; done < info.bytes(); done += MappedFile.STRIDE) {
              int now = (int) Math.min(MappedFile.STRIDE, info.bytes() - done);
              sink.write(store.buffer(name, done, now));
            }
          });
    }

    /**
     * The size in the file.
     *
     * @return bytes
     * @throws PeftException if the shape cannot be, or ends inside a byte
     */
    public long bytes() {
      try {
        long elements = 1;
        for (long size : shape.getShape()) {
          if (size < 0) {
            throw new ArithmeticException("negative dimension");
          }
          elements = Math.multiplyExact(elements, size);
        }
        return type.bytes(elements);
      } catch (ArithmeticException e) {
        throw new PeftException(
            "tensor '" + name + "': there is no shape " + shape + " of " + type + ": " + e, e);
      }
    }
  }

  /**
   * Writes a file.
   *
   * @param file the file; an existing one is replaced
   * @param entries the tensors, in any order
   * @param metadata free text by key; empty for none
   * @throws PeftException if a name stands twice or is reserved, a source gives fewer or more bytes
   *     than its tensor has, or the file cannot be written
   */
  public static void write(Path file, Collection<Entry> entries, Map<String, String> metadata) {
    try (AtomicFiles.Pending pending = prepare(file, entries, metadata)) {
      pending.commit();
    }
  }

  /** Writes a file under a temporary name. */
  static AtomicFiles.Pending prepare(
      Path file, Collection<Entry> entries, Map<String, String> metadata) {
    return AtomicFiles.Pending.write(file, content(file, entries, metadata));
  }

  /** Checks what is to be written; the result writes it. */
  static AtomicFiles.Content content(
      Path file, Collection<Entry> entries, Map<String, String> metadata) {
    List<Entry> sorted = new ArrayList<>(entries);
    sorted.sort(
        Comparator.comparing(Entry::type)
            .reversed()
            .thenComparing(Entry::name, SafeTensorsHeader.BY_CODE_POINT));
    Map<String, TensorInfo> infos = new LinkedHashMap<>();
    long position = 0;
    for (Entry entry : sorted) {
      String name = entry.name();
      if (name.equals(SafeTensorsHeader.METADATA) || !SafeTensorsHeader.isUnicode(name)) {
        throw new PeftException(
            file
                + ": "
                + SafeTensorsHeader.quote(name)
                + " cannot be a tensor's name; it is reserved or not Unicode");
      }
      long end = Math.addExact(position, entry.bytes());
      if (infos.put(name, new TensorInfo(name, entry.type(), entry.shape(), position, end))
          != null) {
        throw new PeftException(
            file + ": tensor " + SafeTensorsHeader.quote(name) + " is given twice");
      }
      position = end;
    }
    metadata.forEach(
        (key, value) -> {
          if (!SafeTensorsHeader.isUnicode(key) || !SafeTensorsHeader.isUnicode(value)) {
            throw new PeftException(
                file + ": the metadata " + SafeTensorsHeader.quote(key) + " is not Unicode");
          }
        });
    byte[] header = new SafeTensorsHeader(infos, metadata).encode();
    if (header.length > SafeTensorsHeader.MAX_LENGTH) {
      throw new PeftException(
          file
              + ": names and metadata take "
              + header.length
              + " bytes where the format allows "
              + SafeTensorsHeader.MAX_LENGTH);
    }
    return channel -> {
      ByteBuffer start = ByteBuffer.allocate(8 + header.length).order(ByteOrder.LITTLE_ENDIAN);
      writeFully(channel, start.putLong(header.length).put(header).flip());
      for (Entry entry : sorted) {
        ChannelSink sink = new ChannelSink(file, channel, entry);
        entry.source().writeTo(sink);
        sink.finish();
      }
    };
  }

  private static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  /** Counts what a tensor's source gives and writes it to the file. */
  private static final class ChannelSink implements Sink {
    private final Path file;
    private final FileChannel channel;
    private final Entry entry;
    private long missing;

    ChannelSink(Path file, FileChannel channel, Entry entry) {
      this.file = file;
      this.channel = channel;
      this.entry = entry;
      missing = entry.bytes();
    }

    @Override
    public void write(ByteBuffer bytes) throws IOException {
      missing -= bytes.remaining();
      if (missing < 0) {
        throw wrongSize("more");
      }
      // In pieces, since the JDK copies what is not direct to native memory of the same size.
      ByteBuffer rest = bytes.duplicate();
      while (rest.hasRemaining()) {
        int now = Math.min(PIECE, rest.remaining());
        writeFully(channel, rest.duplicate().limit(rest.position() + now));
        rest.position(rest.position() + now);
      }
    }

    @Override
    public void write(NDArray array) throws IOException {
      boolean same = entry.type().dataType().filter(array.getDataType()::equals).isPresent();
      if (same) {
        int pieceElements = MappedFile.STRIDE / array.getDataType().getNumOfBytes();
        unchecked(
            () ->
                TensorArrays.forEachPiece(
                    array, pieceElements, (bytes, first, n) -> checked(() -> write(bytes))));
      } else if (array.getDataType() == DataType.FLOAT32) {
        writeConverted(array);
      } else {
        try (NDArray floats = array.toType(DataType.FLOAT32, false)) {
          writeConverted(floats);
        }
      }
    }

    private void writeConverted(NDArray floats) throws IOException {
      int pieceElements = PIECE / Double.BYTES;
      ByteBuffer converted = ByteBuffer.allocateDirect(PIECE).order(ByteOrder.LITTLE_ENDIAN);
      unchecked(
          () ->
              TensorArrays.forEachPiece(
                  floats,
                  pieceElements,
                  (bytes, first, n) -> {
                    converted.clear();
                    Conversions.fromFloat32(
                        bytes.order(ByteOrder.nativeOrder()).asFloatBuffer(),
                        entry.type(),
                        converted);
                    checked(() -> write(converted.flip()));
                  }));
    }

    void finish() {
      if (missing != 0) {
        throw wrongSize("fewer");
      }
    }

    private PeftException wrongSize(String than) {
      return new PeftException(
          file
              + ": tensor "
              + SafeTensorsHeader.quote(entry.name())
              + " of type "
              + entry.type()
              + " and shape "
              + entry.shape()
              + " was given "
              + than
              + " than its "
              + entry.bytes()
              + " bytes");
    }
  }

  private interface Step {
    void run() throws IOException;
  }

  private static void checked(Step step) {
    try {
      step.run();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static void unchecked(Runnable steps) throws IOException {
    try {
      steps.run();
    } catch (java.io.UncheckedIOException e) {
      throw e.getCause();
    }
  }
}
