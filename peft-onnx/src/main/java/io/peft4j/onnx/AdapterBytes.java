package io.peft4j.onnx;

import io.peft4j.MalformedFileException;
import io.peft4j.models.onnx.OnnxType;
import io.peft4j.state.HalfPrecision;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The bytes of an {@code .onnx_adapter} file, a flatbuffer with the identifier {@value
 * #IDENTIFIER}.
 *
 * <p>A flatbuffer is a tree of tables and vectors that point to each other, all little-endian. It
 * begins with the offset of the root table and the identifier. A table begins with the distance
 * back to its vtable, which has its own size, the table's size, and for each field its place in the
 * table, 0 if it is absent. Texts and vectors are a 32-bit length and the elements; what points to
 * them is a 32-bit distance forward.
 *
 * <p>The root's fields are four: format version (1), version of the adapter, version of the model,
 * and the vector of parameters. A parameter has a name, its sizes (64 bits each), its type as ONNX
 * numbers them (1 float32, 10 float16, 16 bfloat16), and its values, aligned to eight bytes.
 */
final class AdapterBytes {
  private static final String IDENTIFIER = "TORT";
  private static final int FORMAT = 1;
  private static final int FIELDS = 4;
  private static final int VTABLE = 2 * Short.BYTES + FIELDS * Short.BYTES;
  private static final int TABLE = Integer.BYTES + FIELDS * Integer.BYTES;
  private static final int MOST_PARAMETERS = 1 << 20;

  private final ByteBuffer bytes;
  private final String origin;

  private AdapterBytes(ByteBuffer bytes, String origin) {
    this.bytes = bytes.order(ByteOrder.LITTLE_ENDIAN);
    this.origin = origin;
  }

  // --- writing --------------------------------------------------------------------------------

  static byte[] write(Map<String, AdapterTensor> tensors) {
    long size = 64 + VTABLE + TABLE;
    for (Map.Entry<String, AdapterTensor> entry : tensors.entrySet()) {
      size += 64 + VTABLE + TABLE + entry.getKey().getBytes(StandardCharsets.UTF_8).length;
      size += 8L * entry.getValue().shape().length + 4L * entry.getValue().values().length;
    }
    ByteBuffer out =
        ByteBuffer.allocate(Math.toIntExact(size)).order(ByteOrder.LITTLE_ENDIAN).putInt(0);
    out.put(IDENTIFIER.getBytes(StandardCharsets.US_ASCII));
    int root = table(out);
    out.putInt(0, root);
    out.putInt(root + 4, FORMAT).putInt(root + 8, 1).putInt(root + 12, 1);
    pointHere(out, root + 16);
    out.putInt(tensors.size());
    int place = out.position();
    out.position(place + Integer.BYTES * tensors.size());
    for (Map.Entry<String, AdapterTensor> entry : tensors.entrySet()) {
      int table = table(out);
      out.putInt(place, table - place);
      place += Integer.BYTES;
      parameter(out, table, entry.getKey(), entry.getValue());
    }
    byte[] whole = new byte[out.position()];
    out.get(0, whole);
    return whole;
  }

  /** A vtable and the table that belongs to it, whose place is returned. */
  private static int table(ByteBuffer out) {
    align(out, Integer.BYTES, 0);
    int vtable = out.position();
    out.putShort((short) VTABLE).putShort((short) TABLE);
    for (int field = 0; field < FIELDS; field++) {
      out.putShort((short) (Integer.BYTES * (field + 1)));
    }
    int table = out.position();
    out.putInt(table - vtable).position(table + TABLE);
    return table;
  }

  private static void parameter(ByteBuffer out, int table, String name, AdapterTensor tensor) {
    out.putInt(table + 12, OnnxType.FLOAT.code());
    byte[] text = name.getBytes(StandardCharsets.UTF_8);
    align(out, Integer.BYTES, 0);
    pointHere(out, table + 4);
    out.putInt(text.length).put(text).put((byte) 0);
    align(out, Long.BYTES, Integer.BYTES);
    pointHere(out, table + 8);
    out.putInt(tensor.shape().length);
    for (long dimension : tensor.shape()) {
      out.putLong(dimension);
    }
    align(out, Long.BYTES, Integer.BYTES);
    pointHere(out, table + 16);
    out.putInt(Float.BYTES * tensor.values().length);
    for (float value : tensor.values()) {
      out.putFloat(value);
    }
  }

  private static void pointHere(ByteBuffer out, int field) {
    out.putInt(field, out.position() - field);
  }

  /** Goes on to where the distance to a multiple is so many bytes. */
  private static void align(ByteBuffer out, int multiple, int before) {
    while ((out.position() + before) % multiple != 0) {
      out.put((byte) 0);
    }
  }

  // --- reading --------------------------------------------------------------------------------

  static Map<String, AdapterTensor> read(ByteBuffer bytes, String origin) {
    return new AdapterBytes(bytes, origin).read();
  }

  private Map<String, AdapterTensor> read() {
    if (bytes.limit() < 8) {
      throw malformed("it has " + bytes.limit() + " bytes; the least is 8");
    }
    byte[] identifier = new byte[IDENTIFIER.length()];
    bytes.get(Integer.BYTES, identifier);
    if (!IDENTIFIER.equals(new String(identifier, StandardCharsets.US_ASCII))) {
      throw malformed("bytes 4 to 7 should be " + IDENTIFIER);
    }
    int root = target(0);
    int version = integer(field(root, 0));
    if (version != FORMAT) {
      throw malformed("it has format version " + version + "; allowed is " + FORMAT);
    }
    int vector = target(field(root, 3));
    int count = integer(vector);
    if (count < 0 || count > MOST_PARAMETERS || count > bytes.limit() / Integer.BYTES) {
      throw malformed("it claims " + count + " parameters");
    }
    Map<String, AdapterTensor> tensors = new LinkedHashMap<>();
    long total = 0;
    for (int i = 0; i < count; i++) {
      int table = target(vector + Integer.BYTES * (i + 1));
      String name = text(target(field(table, 0)));
      AdapterTensor tensor = tensor(table, name);
      // Many parameters may point to the same bytes.
      total += tensor.values().length;
      if (total > bytes.limit()) {
        throw malformed("its parameters overlap");
      }
      if (tensors.put(name, tensor) != null) {
        throw malformed("there are two parameters named '" + name + "'");
      }
    }
    return tensors;
  }

  private AdapterTensor tensor(int table, String name) {
    int sizes = target(field(table, 1));
    int rank = integer(sizes);
    if (rank != 2) {
      throw malformed("'" + name + "' has " + rank + " dimensions; allowed are 2");
    }
    long[] shape = new long[rank];
    long elements = 1;
    for (int i = 0; i < rank; i++) {
      int place = sizes + Integer.BYTES + Long.BYTES * i;
      check(place, Long.BYTES);
      shape[i] = bytes.getLong(place);
      if (shape[i] < 0 || shape[i] > bytes.limit()) {
        throw malformed("'" + name + "' has the size " + shape[i]);
      }
      elements *= shape[i];
    }
    int code = integer(field(table, 2));
    boolean wide = code == OnnxType.FLOAT.code();
    if (!wide && code != OnnxType.FLOAT16.code() && code != OnnxType.BFLOAT16.code()) {
      throw malformed(
          "'" + name + "' has values of type " + code + "; allowed are 1 (float32), 10, 16");
    }
    int data = target(field(table, 3));
    int length = integer(data);
    int size = wide ? Float.BYTES : Short.BYTES;
    if (elements * size != length) {
      throw malformed("'" + name + "' has " + length + " bytes of values, not " + elements * size);
    }
    check(data + Integer.BYTES, length);
    float[] values = new float[(int) elements];
    for (int i = 0; i < values.length; i++) {
      int place = data + Integer.BYTES + size * i;
      values[i] =
          wide
              ? bytes.getFloat(place)
              : code == OnnxType.FLOAT16.code()
                  ? HalfPrecision.fromFloat16(bytes.getShort(place))
                  : HalfPrecision.fromBfloat16(bytes.getShort(place));
    }
    return new AdapterTensor(shape, values);
  }

  private String text(int place) {
    int length = integer(place);
    check(place + Integer.BYTES, length);
    byte[] text = new byte[length];
    bytes.get(place + Integer.BYTES, text);
    return new String(text, StandardCharsets.UTF_8);
  }

  /** Where a field of a table is. */
  private int field(int table, int number) {
    long vtable = (long) table - integer(table);
    check(vtable, 2L * Short.BYTES);
    int entry = 2 * Short.BYTES + Short.BYTES * number;
    int size = Short.toUnsignedInt(bytes.getShort((int) vtable));
    if (entry + Short.BYTES > size) {
      throw malformed("a table at byte " + table + " lacks field " + number);
    }
    check(vtable + entry, Short.BYTES);
    int offset = Short.toUnsignedInt(bytes.getShort((int) vtable + entry));
    if (offset == 0) {
      throw malformed("a table at byte " + table + " lacks field " + number);
    }
    check((long) table + offset, Integer.BYTES);
    return table + offset;
  }

  private int target(int place) {
    long target = place + Integer.toUnsignedLong(integer(place));
    check(target, Integer.BYTES);
    return (int) target;
  }

  private int integer(int place) {
    check(place, Integer.BYTES);
    return bytes.getInt(place);
  }

  private void check(long place, long length) {
    if (place < 0 || length < 0 || place > bytes.limit() - length) {
      throw malformed(
          "it points to " + length + " bytes at " + place + ", but has " + bytes.limit());
    }
  }

  private MalformedFileException malformed(String problem) {
    return new MalformedFileException(origin + ": not a valid ONNX adapter: " + problem);
  }
}
