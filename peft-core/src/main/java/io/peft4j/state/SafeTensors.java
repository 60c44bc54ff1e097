package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import io.peft4j.AdapterStateException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.torch.Ops;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A safetensors file, mapped for reading.
 *
 * <h2>The format</h2>
 *
 * <ol>
 *   <li>8 bytes: the length n of the header, an unsigned little-endian integer of at most
 *       100,000,000.
 *   <li>n bytes: the header, one JSON object in UTF-8, padded with spaces. Each key is a tensor's
 *       name, each value an object with {@code dtype} (a {@link TensorType}), {@code shape} (a list
 *       of dimensions, the last one varying fastest) and {@code data_offsets} (begin and end in the
 *       data). The key {@code __metadata__} is not a tensor but an object of strings.
 *   <li>The data, to the end of the file. Tensors cover it without gap or overlap.
 * </ol>
 *
 * <p>All of that is checked when a file is opened, before anything of a size that the file claims
 * is allocated. What the Rust library refuses is refused; so is, beyond that, a key that stands
 * twice in one object, a header that does not begin with its object, and more than 64 dimensions.
 */
public final class SafeTensors implements TensorStore {
  /** Smaller tensors are copied: that takes no longer than an array over the mapping. */
  private static final long LEAST_MAPPED = 1 << 20;

  private final Path file;
  private final @Nullable NativeMapping nativeMapping;
  private final long dataStart;
  private final SafeTensorsHeader header;
  private volatile @Nullable MappedFile mapped;

  private SafeTensors(
      Path file,
      @Nullable NativeMapping nativeMapping,
      long dataStart,
      SafeTensorsHeader header,
      MappedFile mapped) {
    this.file = file;
    this.nativeMapping = nativeMapping;
    this.dataStart = dataStart;
    this.header = header;
    this.mapped = mapped;
  }

  /**
   * Opens and checks a file.
   *
   * @param file a safetensors file; it need not be writable
   * @return the open file; the caller closes it
   * @throws MalformedFileException if it is missing, cannot be read or breaks the format, or is a
   *     Python pickle (the message says how to convert it)
   */
  public static SafeTensors open(Path file) {
    if (Files.isDirectory(file)) {
      throw new MalformedFileException(file + ": is a directory where a file is expected");
    }
    if (Pickles.hasPickleName(file) && Files.exists(file)) {
      throw new MalformedFileException(Pickles.refusal(file));
    }
    try {
      FileIdentity before = FileIdentity.of(file);
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
        byte[] json = readHeader(file, channel);
        long dataStart = 8L + json.length;
        SafeTensorsHeader header =
            SafeTensorsHeader.parse(file.toString(), json, channel.size() - dataStart);
        MappedFile mapped = MappedFile.map(channel, dataStart, header.tensors().values());
        // If the path changed hands meanwhile, it is not known which file was opened.
        Path absolute = file.toAbsolutePath();
        NativeMapping nativeMapping =
            before.equals(FileIdentity.of(file)) ? new NativeMapping(absolute, before) : null;
        return new SafeTensors(absolute, nativeMapping, dataStart, header, mapped);
      }
    } catch (NoSuchFileException e) {
      throw new MalformedFileException(file + ": there is no such file", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  private static byte[] readHeader(Path file, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size == 0) {
      throw new MalformedFileException(file + ": is empty");
    }
    ByteBuffer start = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
    readFully(file, channel, start, 0);
    start.flip();
    long length = start.remaining() == 8 ? start.getLong(0) : -1;
    if (length < 0 || length > Math.min(SafeTensorsHeader.MAX_LENGTH, size - 8)) {
      String guess = Pickles.guess(file, start);
      throw new MalformedFileException(
          !guess.isEmpty()
              ? guess
              : size < 8
                  ? file + ": has " + size + " bytes; a safetensors file has at least 10"
                  : file
                      + ": is not a safetensors file or damaged: the header's length would be "
                      + Long.toUnsignedString(length)
                      + " bytes, where the file has "
                      + (size - 8)
                      + " left and the format allows "
                      + SafeTensorsHeader.MAX_LENGTH);
    }
    byte[] json = new byte[(int) length];
    readFully(file, channel, ByteBuffer.wrap(json), 8);
    if (json.length == 0 || json[0] != '{') {
      throw new MalformedFileException(
          file + ": is not a safetensors file or damaged: the header does not begin with '{'");
    }
    return json;
  }

  private static void readFully(Path file, FileChannel channel, ByteBuffer into, long from)
      throws IOException {
    long position = from;
    while (into.hasRemaining()) {
      int read = channel.read(into, position);
      if (read < 0) {
        if (from == 0) {
          return; // Shorter than the length field; the caller says so.
        }
        throw new MalformedFileException(file + ": was cut short while it was read");
      }
      position += read;
    }
  }

  /**
   * Where this file lies.
   *
   * @return absolute path
   */
  public Path file() {
    return file;
  }

  @Override
  public Set<String> names() {
    return header.tensors().keySet();
  }

  @Override
  public TensorInfo info(String name) {
    TensorInfo info = header.tensors().get(name);
    if (info == null) {
      throw new MalformedFileException(file + ": has no tensor " + SafeTensorsHeader.quote(name));
    }
    return info;
  }

  @Override
  public Map<String, String> metadata() {
    return header.metadata();
  }

  @Override
  public ByteBuffer buffer(String name) {
    TensorInfo info = info(name);
    if (info.bytes() > Integer.MAX_VALUE) {
      throw new PeftException(
          at(info)
              + "has "
              + info.bytes()
              + " bytes, more than the "
              + Integer.MAX_VALUE
              + " of one buffer; read it in ranges");
    }
    return mapped().slice(dataStart + info.begin(), 0, (int) info.bytes());
  }

  @Override
  public ByteBuffer buffer(String name, long offset, int length) {
    TensorInfo info = info(name);
    if (offset < 0 || length < 0 || offset > info.bytes() - length) {
      throw new PeftException(
          at(info)
              + "has bytes 0 to "
              + info.bytes()
              + "; the range from "
              + offset
              + " of length "
              + length
              + " does not lie in it");
    }
    if (length > MappedFile.STRIDE && info.bytes() > Integer.MAX_VALUE) {
      throw new PeftException(
          at(info)
              + "is read in ranges of at most "
              + MappedFile.STRIDE
              + " bytes; "
              + length
              + " were asked for");
    }
    return mapped().slice(dataStart + info.begin(), offset, length);
  }

  @Override
  public NDArray array(NDManager manager, String name) {
    TensorInfo info = info(name);
    DataType type =
        info.type()
            .dataType()
            .orElseThrow(
                () ->
                    new MalformedFileException(
                        at(info)
                            + "is of type "
                            + info.type()
                            + ", which the engine cannot hold"
                            + (info.type().isFloat32Readable() ? "; read it as float32" : "")));
    NDArray part = part(manager, info, type);
    if (part != null) {
      return part;
    }
    MappedFile from = mapped();
    long position = dataStart + info.begin();
    int width = type.getNumOfBytes();
    return filled(
        manager,
        info,
        type,
        (destination, first, elements) -> {
          ByteBuffer source = from.slice(position, first * width, elements * width);
          if (type == DataType.BOOLEAN) {
            checkBooleans(info, source);
          }
          destination.put(source);
        });
  }

  /** The file's own memory as an array, or null if the tensor is small or cannot be mapped. */
  private @Nullable NDArray part(NDManager manager, TensorInfo info, DataType type) {
    mapped();
    long position = dataStart + info.begin();
    return nativeMapping != null
            && info.bytes() >= LEAST_MAPPED
            && position % type.getNumOfBytes() == 0
            && TensorArrays.isHost(manager)
        ? nativeMapping.array(manager, position, info.shape(), type)
        : null;
  }

  @Override
  public NDArray half(NDManager manager, String name) {
    TensorInfo info = info(name);
    if (info.type() == TensorType.F16) {
      return array(manager, name);
    }
    if (info.type() != TensorType.BF16) {
      throw new MalformedFileException(
          at(info) + "is of type " + info.type() + " where F16 or BF16 is needed");
    }
    NDArray part = part(manager, info, DataType.BFLOAT16);
    if (part != null) {
      return part;
    }
    try (NDArray wide = float32Copy(manager, name)) {
      return Ops.toBfloat16(wide);
    }
  }

  @Override
  public NDArray float32(NDManager manager, String name) {
    return info(name).type() == TensorType.F32 ? array(manager, name) : float32Copy(manager, name);
  }

  @Override
  public NDArray float32Copy(NDManager manager, String name) {
    TensorInfo info = info(name);
    if (!info.type().isFloat32Readable()) {
      throw new MalformedFileException(
          at(info) + "is of type " + info.type() + " where F32, F16, BF16 or F64 is needed");
    }
    MappedFile from = mapped();
    long position = dataStart + info.begin();
    int width = info.type().bits() / 8;
    return filled(
        manager,
        info,
        DataType.FLOAT32,
        (destination, first, elements) -> {
          // A piece that is short enough in float32 may be twice as long in F64.
          int most = MappedFile.STRIDE / Double.BYTES;
          for (int done = 0; done < elements; done += most) {
            int now = Math.min(most, elements - done);
            ByteBuffer source = from.slice(position, (first + done) * width, now * width);
            Conversions.toFloat32(
                info.type(), source, destination.slice(done * Float.BYTES, now * Float.BYTES), now);
          }
        });
  }

  private NDArray filled(
      NDManager manager, TensorInfo info, DataType type, TensorArrays.Filler filler) {
    try {
      return TensorArrays.fill(manager, info.shape(), type, filler);
    } catch (InternalError e) {
      // What the JVM makes of a mapped page that is not there any more.
      throw new MalformedFileException(at(info) + "was cut off by a change of the file", e);
    }
  }

  private void checkBooleans(TensorInfo info, ByteBuffer bytes) {
    for (int i = 0; i < bytes.limit(); i++) {
      if ((bytes.get(i) & 0xfe) != 0) {
        throw new MalformedFileException(
            at(info) + "is of type BOOL but has the value " + (bytes.get(i) & 0xff));
      }
    }
  }

  private MappedFile mapped() {
    MappedFile open = mapped;
    if (open == null) {
      throw new AdapterStateException(file + ": was closed and cannot be read any more");
    }
    return open;
  }

  private String at(TensorInfo info) {
    return file + ": tensor " + SafeTensorsHeader.quote(info.name()) + " ";
  }

  @Override
  public void close() {
    mapped = null;
    if (nativeMapping != null) {
      nativeMapping.close();
    }
  }
}
