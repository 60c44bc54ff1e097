package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Reads one tensor ({@code TensorProto}): 1 dims, 2 element type, 3 segment, 4 floats, 5, 7, 10 and
 * 11 integers and doubles in lists of their own, 6 strings, 8 name, 9 raw bytes, 13 and 14 where
 * values outside the file lie. Values are raw bytes (little-endian, row-major) or one of the lists;
 * of these the floats and the 64-bit integers are read.
 */
final class TensorParser {
  private static final int MAXIMUM_RANK = 32;
  private static final int EXTERNAL = 1;
  private static final int MAXIMUM_BYTES = Integer.MAX_VALUE - 8;

  /** Lists of integers are for small constants: a byte of the file can become eight of memory. */
  private static final int MAXIMUM_LONGS = 1 << 20;

  private final String file;
  private final long[] shape = new long[MAXIMUM_RANK];
  private int rank;
  private long typeCode;
  private String name = "";
  private @Nullable ByteBuffer raw;
  private @Nullable ByteBuffer floats;
  private long[] longs = new long[0];
  private int longCount;
  private boolean otherList;

  TensorParser(String file) {
    this.file = file;
  }

  OnnxTensor tensor(ProtobufReader in) {
    while (in.next()) {
      switch (in.field()) {
        case 1 -> in.varints(size -> dimension(in, size));
        case 2 -> typeCode = in.varint();
        case 3 -> throw in.malformed(here() + " is cut into segments, which is not supported");
        case 4 -> addFloats(in);
        case 5, 6, 10, 11 -> {
          otherList = true;
          in.skip();
        }
        case 7 -> in.varints(value -> addLong(in, value));
        case 8 -> name = in.text(OnnxParser.MAXIMUM_TEXT);
        case 9 -> {
          if (raw != null) {
            throw in.malformed(here() + " has its raw bytes twice");
          }
          raw = in.bytes();
        }
        case 13 -> throw external(in);
        case 14 -> {
          if (in.varint() == EXTERNAL) {
            throw external(in);
          }
        }
        default -> in.skip();
      }
    }
    OnnxType type =
        OnnxType.ofCode(typeCode)
            .orElseThrow(() -> in.malformed(here() + " has the unknown element type " + typeCode));
    long elements = elements(in);
    if (type == OnnxType.STRING) {
      return unreadable(type, elements, "holds strings, which are not read");
    }
    ByteBuffer data = raw != null ? raw : listed(in, type);
    if (data == null) {
      return unreadable(
          type, elements, "keeps its " + type + " values in a list; only raw_data is read");
    }
    checkSize(in, type, elements, data.limit());
    return new OnnxTensor(name, type, Arrays.copyOf(shape, rank), elements, data, "");
  }

  private OnnxTensor unreadable(OnnxType type, long elements, String why) {
    String problem = file + ": " + here() + " " + why;
    return new OnnxTensor(name, type, Arrays.copyOf(shape, rank), elements, null, problem);
  }

  private void dimension(ProtobufReader in, long size) {
    if (size < 0) {
      throw in.malformed(here() + " has the negative size " + size + " in its shape");
    }
    if (rank == MAXIMUM_RANK) {
      throw in.malformed(here() + " has more than " + MAXIMUM_RANK + " dimensions");
    }
    shape[rank++] = size;
  }

  private long elements(ProtobufReader in) {
    long elements = 1;
    for (int i = 0; i < rank; i++) {
      // A zero anywhere makes the tensor empty, but must not hide sizes nobody could address.
      elements = multiply(in, elements, Math.max(1, shape[i]));
    }
    for (int i = 0; i < rank; i++) {
      elements = shape[i] == 0 ? 0 : elements;
    }
    return elements;
  }

  private long multiply(ProtobufReader in, long product, long size) {
    if (product > Long.MAX_VALUE / 128 / size) {
      throw in.malformed(
          here() + " has the impossible shape " + Arrays.toString(Arrays.copyOf(shape, rank)));
    }
    return product * size;
  }

  /** One chunk stays a view of the file; writers that store floats one by one give many. */
  private void addFloats(ProtobufReader in) {
    ByteBuffer chunk = in.floats();
    ByteBuffer gathered = floats;
    if (gathered == null) {
      floats = chunk;
      return;
    }
    int size = gathered.limit();
    long needed = (long) size + chunk.limit();
    if (needed > gathered.capacity()) {
      gathered = littleEndian((int) Math.min(2 * needed, MAXIMUM_BYTES)).put(floats).clear();
      floats = gathered;
    }
    gathered.limit((int) needed).put(size, chunk, 0, chunk.limit());
  }

  private void addLong(ProtobufReader in, long value) {
    if (longCount == MAXIMUM_LONGS) {
      throw in.malformed(here() + " lists more than " + MAXIMUM_LONGS + " integers");
    }
    if (longCount == longs.length) {
      longs = Arrays.copyOf(longs, Math.max(8, 2 * longCount));
    }
    longs[longCount++] = value;
  }

  /** The values of a list in the form of raw bytes; null if it is one that is not read. */
  private @Nullable ByteBuffer listed(ProtobufReader in, OnnxType type) {
    if (otherList) {
      return null;
    }
    if (longCount > 0) {
      if (type != OnnxType.INT64) {
        throw in.malformed(here() + " is of type " + type + " but holds 64-bit integers");
      }
      ByteBuffer data = littleEndian(Math.multiplyExact(longCount, Long.BYTES));
      data.asLongBuffer().put(longs, 0, longCount);
      return data;
    }
    if (floats == null) {
      return littleEndian(0);
    }
    return type == OnnxType.FLOAT ? floats : null;
  }

  private void checkSize(ProtobufReader in, OnnxType type, long elements, int bytes) {
    long expected = (elements * type.bits() + 7) / 8;
    if (expected != bytes) {
      throw in.malformed(
          here()
              + " of type "
              + type
              + " and shape "
              + Arrays.toString(Arrays.copyOf(shape, rank))
              + " should have "
              + expected
              + " bytes of values, has "
              + bytes);
    }
  }

  private MalformedFileException external(ProtobufReader in) {
    return in.malformed(
        here() + " keeps its values in another file; allowed are files that hold their own values");
  }

  private String here() {
    return name.isEmpty() ? "a tensor" : "tensor '" + name + "'";
  }

  private static ByteBuffer littleEndian(int size) {
    return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
  }
}
