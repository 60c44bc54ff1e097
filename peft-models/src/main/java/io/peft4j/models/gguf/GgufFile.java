package io.peft4j.models.gguf;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.MappedFile;
import io.peft4j.state.TensorArrays;
import io.peft4j.state.TensorInfo;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A GGUF file of version 2 or 3, mapped for reading.
 *
 * <h2>The format</h2>
 *
 * <p>All numbers are little-endian. A string is its length in bytes (u64) and UTF-8 without an end
 * mark.
 *
 * <ol>
 *   <li>The letters {@code GGUF}; the version (u32); the number of tensors (u64); the number of
 *       metadata keys (u64).
 *   <li>For each key: its name (string), the type of its value (u32), the value. Types are 0 u8, 1
 *       i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 boolean (a byte, 0 or 1), 8 string, 9 list, 10
 *       u64, 11 i64, 12 f64. A list is the type of its elements (u32), their number (u64) and the
 *       elements; lists may hold lists.
 *   <li>For each tensor: its name (string), the number of dimensions (u32, at most 4), the
 *       dimensions (u64 each, the one that varies fastest first), its type (u32, see {@link
 *       GgufType}) and where it begins in the data (u64, a multiple of the alignment).
 *   <li>Padding up to a multiple of the alignment, which is the value of {@code general.alignment},
 *       a power of two, or 32; then the data.
 * </ol>
 *
 * <p>All of that is checked when a file is opened: no name stands twice, no two tensors overlap,
 * none ends behind the end of the file, names have at most 4096 bytes, lists at most 8 levels and
 * 2^23 elements together.
 *
 * <p>Any number of threads may read at once. The caller closes the file; buffers and arrays that
 * were handed out stay valid.
 */
public final class GgufFile implements AutoCloseable {
  private final Path file;
  private final int version;
  private final GgufMetadata metadata;
  private final Map<String, GgufTensor> tensors;
  private final Map<String, ByteBuffer> entries;
  private final long dataStart;
  private volatile @Nullable MappedFile mapped;

  private GgufFile(Path file, GgufParser parsed, MappedFile mapped) {
    this.file = file;
    this.version = parsed.version();
    this.metadata = parsed.metadata();
    this.tensors = Collections.unmodifiableMap(parsed.tensors());
    this.entries = parsed.entries();
    this.dataStart = parsed.dataStart();
    this.mapped = mapped;
  }

  /**
   * Whether a path names a GGUF file, by its ending.
   *
   * @param path any path
   * @return true for one that ends in {@code .gguf} and is not a directory
   */
  public static boolean isNamedSo(Path path) {
    return String.valueOf(path.getFileName()).toLowerCase(Locale.ROOT).endsWith(".gguf")
        && !Files.isDirectory(path);
  }

  /**
   * Opens and checks a file.
   *
   * @param file a GGUF file; it need not be writable
   * @return the open file; the caller closes it
   * @throws MalformedFileException if it is missing, cannot be read, breaks the format or has a
   *     tensor of a type that is not read
   */
  public static GgufFile open(Path file) {
    if (Files.isDirectory(file)) {
      throw new MalformedFileException(file + ": is a directory where a file is expected");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      ByteBuffer head =
          channel
              .map(FileChannel.MapMode.READ_ONLY, 0, Math.min(size, Integer.MAX_VALUE))
              .order(ByteOrder.LITTLE_ENDIAN);
      GgufParser parser = new GgufParser(file.toString(), size, head);
      parser.parse();
      List<TensorInfo> places = new ArrayList<>();
      for (GgufTensor tensor : parser.tensors().values()) {
        long end = tensor.begin() + tensor.bytes();
        Shape bytes = new Shape(tensor.bytes());
        places.add(new TensorInfo(tensor.name(), TensorType.U8, bytes, tensor.begin(), end));
      }
      MappedFile mapped = MappedFile.map(channel, parser.dataStart(), places);
      return new GgufFile(file.toAbsolutePath(), parser, mapped);
    } catch (NoSuchFileException e) {
      throw new MalformedFileException(file + ": there is no such file", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    } catch (InternalError e) {
      // What the JVM makes of a mapped page that is not there any more.
      throw new MalformedFileException(file + ": was cut off while it was read", e);
    }
  }

  private GgufFile(GgufFile other, MappedFile mapped) {
    this.file = other.file;
    this.version = other.version;
    this.metadata = other.metadata;
    this.tensors = other.tensors;
    this.entries = other.entries;
    this.dataStart = other.dataStart;
    this.mapped = mapped;
  }

  /** The same file, open for itself. Nothing is read or mapped again. */
  GgufFile share() {
    return new GgufFile(this, mapped());
  }

  /**
   * Where this file lies.
   *
   * @return absolute path
   */
  public Path file() {
    return file;
  }

  /**
   * The version of the format.
   *
   * @return 2 or 3
   */
  public int version() {
    return version;
  }

  /**
   * What the file says about the model.
   *
   * @return keys and values
   */
  public GgufMetadata metadata() {
    return metadata;
  }

  /** Each metadata key as it lies in the file: name, type and value, read-only, not copied. */
  Map<String, ByteBuffer> entries() {
    return entries;
  }

  /**
   * The tensors by name.
   *
   * @return names to places, in the order of the file; cannot be modified
   */
  public Map<String, GgufTensor> tensors() {
    return tensors;
  }

  /**
   * Type, shape and place of a tensor.
   *
   * @param name the name in the file
   * @return what the file says of it
   * @throws MalformedFileException if there is no such tensor
   */
  public GgufTensor tensor(String name) {
    GgufTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new MalformedFileException(file + ": has no tensor " + Quotes.quote(name));
    }
    return tensor;
  }

  /**
   * The packed bytes of a tensor, not copied.
   *
   * @param name the name in the file
   * @return read-only little-endian buffer from position 0, valid after the file is closed
   * @throws MalformedFileException if there is no such tensor
   * @throws PeftException if it is larger than a buffer can be (2^31 - 1 bytes): read it in ranges
   * @throws AdapterStateException if the file is closed
   */
  public ByteBuffer buffer(String name) {
    GgufTensor tensor = tensor(name);
    if (tensor.bytes() > Integer.MAX_VALUE) {
      throw new PeftException(
          at(tensor)
              + "has "
              + tensor.bytes()
              + " bytes, too many for a buffer; read it in ranges");
    }
    return mapped().slice(dataStart + tensor.begin(), 0, (int) tensor.bytes());
  }

  /**
   * Some of the packed bytes of a tensor of any size, not copied.
   *
   * @param name the name in the file
   * @param offset first byte, counted from the tensor's start
   * @param length number of bytes, at most 2^30
   * @return as {@link #buffer(String)}
   * @throws MalformedFileException if there is no such tensor
   * @throws PeftException if the range does not lie in the tensor or is too long
   * @throws AdapterStateException if the file is closed
   */
  public ByteBuffer buffer(String name, long offset, int length) {
    GgufTensor tensor = tensor(name);
    if (offset < 0
        || length < 0
        || length > MappedFile.STRIDE
        || offset > tensor.bytes() - length) {
      throw new PeftException(
          at(tensor)
              + "has bytes 0 to "
              + tensor.bytes()
              + ", read at most "
              + MappedFile.STRIDE
              + " at once; asked for were "
              + length
              + " from "
              + offset);
    }
    return mapped().slice(dataStart + tensor.begin(), offset, length);
  }

  /**
   * A tensor's values, as they lie in the file.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name the name in the file
   * @return float32 array of the tensor's shape, in memory of its own
   * @throws MalformedFileException if there is no such tensor
   * @throws AdapterStateException if the file is closed
   */
  public NDArray float32(NDManager manager, String name) {
    return float32(manager, name, Arrangement.AS_STORED);
  }

  /** A tensor's values, brought into another arrangement. */
  NDArray float32(NDManager manager, String name, Arrangement arrangement) {
    GgufTensor tensor = tensor(name);
    mapped();
    Dequantizer source = new Dequantizer(this, tensor);
    return guarded(
        tensor,
        () ->
            TensorArrays.fill(
                manager,
                arrangement.shape(tensor.shape()),
                DataType.FLOAT32,
                (destination, first, elements) ->
                    arrangement.fill(source, destination, first, elements)));
  }

  /** Reads from the mapped file, and says what it means if a page is not there any more. */
  <T> T guarded(GgufTensor tensor, Supplier<T> reader) {
    try {
      return reader.get();
    } catch (InternalError e) {
      throw new MalformedFileException(at(tensor) + "was cut off by a change of the file", e);
    }
  }

  private MappedFile mapped() {
    MappedFile open = mapped;
    if (open == null) {
      throw new AdapterStateException(file + ": was closed and cannot be read any more");
    }
    return open;
  }

  private String at(GgufTensor tensor) {
    return file + ": tensor " + Quotes.quote(tensor.name()) + " ";
  }

  @Override
  public void close() {
    mapped = null;
  }
}
