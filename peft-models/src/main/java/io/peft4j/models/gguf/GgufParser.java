package io.peft4j.models.gguf;

import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads and checks all of a GGUF file but the values of its tensors. What the file says of itself
 * is believed only as far as there are bytes for it; nothing larger is allocated.
 */
final class GgufParser {
  /** "GGUF" as a little-endian number. */
  static final int MAGIC = 0x46554747;

  private static final int MAX_KEYS = 1 << 16;
  private static final int MAX_TENSORS = 1 << 17;
  private static final int MAX_DIMENSIONS = 4;
  private static final int MAX_NAME = 1 << 12;
  private static final int MAX_DEPTH = 8;
  private static final int MAX_STRING = 100_000_000;

  /** Most elements of all lists together: several times what the largest vocabularies need. */
  private static final int MAX_ELEMENTS = 1 << 23;

  private static final int STRING = 8;
  private static final int ARRAY = 9;
  private final String origin;
  private final long size;
  private final ByteBuffer bytes;
  private final Map<String, Object> values = new LinkedHashMap<>();
  private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();
  private final Map<String, ByteBuffer> entries = new LinkedHashMap<>();
  private byte[] scratch = new byte[1024];
  private int elements;
  private int version;
  private long dataStart;

  /**
   * Prepares.
   *
   * @param origin what error messages call the file
   * @param size the size of the file
   * @param bytes its beginning, in little-endian order: all of it, or as much as a buffer can have
   */
  GgufParser(String origin, long size, ByteBuffer bytes) {
    this.origin = origin;
    this.size = size;
    this.bytes = bytes;
  }

  int version() {
    return version;
  }

  long dataStart() {
    return dataStart;
  }

  GgufMetadata metadata() {
    return new GgufMetadata(origin, values);
  }

  Map<String, GgufTensor> tensors() {
    return tensors;
  }

  /** Each metadata key as it lies in the file: name, type and value, not copied. */
  Map<String, ByteBuffer> entries() {
    return entries;
  }

  void parse() {
    if (size < 24 || bytes.getInt(0) != MAGIC) {
      throw malformed(
          size < 24
              ? "has " + size + " bytes; a GGUF file has at least 24"
              : "is not a GGUF file: it does not begin with the letters GGUF");
    }
    bytes.position(4);
    version = bytes.getInt();
    if (version != 2 && version != 3) {
      boolean swapped = (version & 0xffff) == 0 && version != 0;
      throw malformed(
          swapped
              ? "is a GGUF file in big-endian order; little-endian ones are read"
              : "is a GGUF file of version "
                  + Integer.toUnsignedString(version)
                  + "; versions 2 and 3 are read");
    }
    int tensorCount = count("tensors", bytes.getLong(), MAX_TENSORS, 24);
    int keyCount = count("metadata keys", bytes.getLong(), MAX_KEYS, 13);
    for (int i = 0; i < keyCount; i++) {
      int begin = bytes.position();
      String key = name("the name of metadata key " + i);
      int type = integer("the type of key " + Quotes.quote(key));
      Object value = value(key, type, 0);
      if (values.put(key, value) != null) {
        throw malformed("the metadata key " + Quotes.quote(key) + " stands twice");
      }
      entries.put(key, bytes.slice(begin, bytes.position() - begin));
    }
    long alignment = alignment();
    for (int i = 0; i < tensorCount; i++) {
      GgufTensor tensor = tensor(i, alignment);
      if (tensors.put(tensor.name(), tensor) != null) {
        throw malformed("the tensor " + Quotes.quote(tensor.name()) + " stands twice");
      }
    }
    dataStart = (bytes.position() + alignment - 1) / alignment * alignment;
    checkPlaces();
  }

  /** A number of things, each of which takes at least some bytes of what is left. */
  private int count(String what, long given, long most, int leastBytes) {
    if (given < 0 || given > most || given > bytes.remaining() / leastBytes) {
      throw malformed(
          "is damaged: it says that there are "
              + Long.toUnsignedString(given)
              + " "
              + what
              + ", where "
              + bytes.remaining()
              + " bytes are left"
              + (given > most && given > 0 ? " and at most " + most + " are read" : ""));
    }
    return (int) given;
  }

  private long alignment() {
    Object given = values.get("general.alignment");
    if (given == null) {
      return 32;
    }
    if (given instanceof Long number
        && number >= 1
        && number <= 1 << 24
        && Long.bitCount(number) == 1) {
      return number;
    }
    throw metadata().wrong("general.alignment", "a power of two up to 2^24");
  }

  private Object value(String key, int type, int depth) {
    if (type == STRING) {
      return string("the value of key " + Quotes.quote(key), MAX_STRING);
    }
    if (type == ARRAY) {
      return array(key, depth);
    }
    need(width(key, type), "the value of key " + Quotes.quote(key));
    return scalar(key, type);
  }

  private int width(String key, int type) {
    return switch (type) {
      case 0, 1, 7 -> 1;
      case 2, 3 -> 2;
      case 4, 5, 6 -> 4;
      case 10, 11, 12 -> 8;
      default ->
          throw malformed(
              "the metadata key "
                  + Quotes.quote(key)
                  + " has a value of the unknown type "
                  + Integer.toUnsignedString(type));
    };
  }

  private Object scalar(String key, int type) {
    if (type == 6 || type == 12) {
      return floating(type);
    }
    if (type == 7) {
      byte flag = bytes.get();
      if (flag != 0 && flag != 1) {
        throw malformed(
            "the metadata key "
                + Quotes.quote(key)
                + " is a boolean with the value "
                + (flag & 0xff));
      }
      return flag == 1;
    }
    long number = whole(type);
    // No such number means anything; as a double it fits no place where a whole one is expected.
    return type == 10 && number < 0 ? (Object) 0x1p63 : (Object) number;
  }

  private long whole(int type) {
    return switch (type) {
      case 0 -> bytes.get() & 0xff;
      case 1 -> bytes.get();
      case 2 -> bytes.getShort() & 0xffff;
      case 3 -> bytes.getShort();
      case 4 -> bytes.getInt() & 0xffff_ffffL;
      case 5 -> bytes.getInt();
      default -> bytes.getLong();
    };
  }

  private double floating(int type) {
    if (type == 12) {
      return bytes.getDouble();
    }
    float value = bytes.getFloat();
    return Float.isFinite(value) ? Double.parseDouble(Float.toString(value)) : value;
  }

  private Object array(String key, int depth) {
    if (depth == MAX_DEPTH) {
      throw malformed(
          "the metadata key "
              + Quotes.quote(key)
              + " has lists in lists, deeper than the "
              + MAX_DEPTH
              + " levels that are read");
    }
    String what = "elements of the metadata key " + Quotes.quote(key);
    int type = integer(what);
    need(8, what);
    boolean nested = type == ARRAY;
    int least = nested ? 12 : type == STRING ? 8 : width(key, type);
    int count = count(what, bytes.getLong(), MAX_ELEMENTS - elements, least);
    elements += count;
    if (type == STRING) {
      String[] texts = new String[count];
      for (int i = 0; i < count; i++) {
        texts[i] = string(what, MAX_STRING);
      }
      return texts;
    }
    if (nested) {
      Object[] lists = new Object[count];
      for (int i = 0; i < count; i++) {
        lists[i] = array(key, depth + 1);
      }
      return lists;
    }
    if (type == 6 || type == 12) {
      double[] numbers = new double[count];
      for (int i = 0; i < count; i++) {
        numbers[i] = floating(type);
      }
      return numbers;
    }
    long[] numbers = new long[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = whole(type == 7 ? 0 : type);
    }
    return numbers;
  }

  private GgufTensor tensor(int index, long alignment) {
    String name = name("the name of tensor " + index);
    String what = "tensor " + Quotes.quote(name);
    int dimensions = integer(what);
    if (dimensions < 0 || dimensions > MAX_DIMENSIONS) {
      String given = Integer.toUnsignedString(dimensions);
      throw malformed(what + " has " + given + " dimensions; the format allows " + MAX_DIMENSIONS);
    }
    need(8 * dimensions + 12, what);
    long[] shape = new long[dimensions];
    for (int i = dimensions - 1; i >= 0; i--) {
      shape[i] = bytes.getLong();
      if (shape[i] < 1) {
        throw malformed(
            what + " has a dimension of " + Long.toUnsignedString(shape[i]) + " elements");
      }
    }
    int id = bytes.getInt();
    GgufType type =
        GgufType.of(id)
            .orElseThrow(
                () ->
                    malformed(
                        what
                            + " is of the type "
                            + GgufType.nameOf(id)
                            + ", which is not read; read are "
                            + GgufType.all()));
    long begin = bytes.getLong();
    long length;
    try {
      long total = 1;
      for (long dimension : shape) {
        total = Math.multiplyExact(total, dimension);
      }
      length = type.bytes(total);
      // Float32 of it must have a size too.
      Math.multiplyExact(total, 4L);
    } catch (ArithmeticException e) {
      throw malformed(what + " has a shape that no file can hold: " + new Shape(shape));
    }
    long row = dimensions == 0 ? 1 : shape[dimensions - 1];
    if (row % type.blockSize() != 0) {
      throw malformed(
          what
              + " has rows of "
              + row
              + " elements, which is no multiple of the "
              + type.blockSize()
              + " in a block of "
              + type);
    }
    if (begin < 0 || begin % alignment != 0 || begin > size - length) {
      throw malformed(
          what
              + " begins at byte "
              + Long.toUnsignedString(begin)
              + " of the data and has "
              + length
              + ", which does not fit a file of "
              + size
              + " bytes with an alignment of "
              + alignment);
    }
    return new GgufTensor(name, type, new Shape(shape), begin);
  }

  private void checkPlaces() {
    List<GgufTensor> order = new ArrayList<>(tensors.values());
    order.sort(Comparator.comparingLong(GgufTensor::begin));
    long end = 0;
    String before = "";
    for (GgufTensor tensor : order) {
      if (tensor.begin() < end) {
        throw malformed(
            "the tensors " + before + " and " + Quotes.quote(tensor.name()) + " overlap");
      }
      end = tensor.begin() + tensor.bytes();
      before = Quotes.quote(tensor.name());
      if (end > size - dataStart) {
        String place = " ends at byte " + (dataStart + end) + ", the file has " + size;
        throw malformed("is cut short: tensor " + before + place);
      }
    }
  }

  private String name(String what) {
    String name = string(what, MAX_NAME);
    if (name.isEmpty()) {
      throw malformed(what + " is empty");
    }
    return name;
  }

  private int integer(String what) {
    need(4, what);
    return bytes.getInt();
  }

  private String string(String what, int most) {
    need(8, what);
    long length = bytes.getLong();
    if (length < 0 || length > bytes.remaining() || length > most) {
      throw malformed(
          "is damaged: "
              + what
              + " would have "
              + Long.toUnsignedString(length)
              + " bytes, where "
              + bytes.remaining()
              + " are left and at most "
              + most
              + " are read");
    }
    int count = (int) length;
    if (count > scratch.length) {
      scratch = new byte[Math.max(count, 2 * scratch.length)];
    }
    bytes.get(scratch, 0, count);
    String text = new String(scratch, 0, count, StandardCharsets.UTF_8);
    if (text.indexOf('\uFFFD') >= 0) {
      // The mark of bytes that are no UTF-8, unless it stands there itself.
      try {
        StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(scratch, 0, count));
      } catch (CharacterCodingException e) {
        throw malformed(what + " is not valid UTF-8");
      }
    }
    return text;
  }

  private void need(int count, String what) {
    if (bytes.remaining() < count) {
      throw malformed("is cut short in " + what);
    }
  }

  private MalformedFileException malformed(String what) {
    return new MalformedFileException(origin + ": " + what);
  }
}
