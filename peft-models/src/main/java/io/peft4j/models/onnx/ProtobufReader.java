package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.function.LongConsumer;

/**
 * Walks the fields of one protobuf message that lies in a buffer. Nothing is copied, and no length
 * is believed before it was held against what is left of the message around it.
 *
 * <p>The wire format: a message is a sequence of fields, each a tag (field number times eight plus
 * wire type, a varint) and a value: wire type 0 a varint of at most ten bytes, 1 eight bytes, 2 a
 * varint length and that many bytes (text, bytes, a message, packed numbers), 5 four bytes. Wire
 * types 3 and 4 (groups) are long out of use and refused.
 */
final class ProtobufReader {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;
  private static final int MAXIMUM_FIELD = (1 << 29) - 1;

  private final ByteBuffer buffer;
  private final int end;
  private final String file;
  private final String message;
  private int position;
  private int field;
  private int wireType;

  private ProtobufReader(ByteBuffer buffer, int start, int end, String file, String message) {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
    this.file = file;
    this.message = message;
  }

  /** Reads the bytes between the buffer's position and its limit, which stay as they are. */
  static ProtobufReader of(ByteBuffer bytes, String file, String message) {
    ByteBuffer view = bytes.slice().order(ByteOrder.LITTLE_ENDIAN);
    return new ProtobufReader(view, 0, view.limit(), file, message);
  }

  /** Goes on to the next field; the one before must have been read or skipped. */
  boolean next() {
    if (position == end) {
      return false;
    }
    long tag = rawVarint();
    long number = tag >>> 3;
    if (number == 0 || number > MAXIMUM_FIELD) {
      throw malformed("field number " + number + " is none; allowed are 1 to " + MAXIMUM_FIELD);
    }
    field = (int) number;
    wireType = (int) (tag & 7);
    if (wireType != VARINT && wireType != FIXED64 && wireType != BYTES && wireType != FIXED32) {
      throw malformed("field " + field + " has wire type " + wireType + "; allowed are 0, 1, 2, 5");
    }
    return true;
  }

  int field() {
    return field;
  }

  void skip() {
    switch (wireType) {
      case VARINT -> rawVarint();
      case FIXED64 -> advance(Long.BYTES);
      case FIXED32 -> advance(Integer.BYTES);
      default -> advance(rawLength());
    }
  }

  long varint() {
    expect(VARINT, "an integer");
    return rawVarint();
  }

  float float32() {
    expect(FIXED32, "a float");
    return buffer.getFloat(advance(Float.BYTES));
  }

  /** Integers, packed or one at a time: both are allowed for every repeated number. */
  void varints(LongConsumer sink) {
    if (wireType == VARINT) {
      sink.accept(rawVarint());
      return;
    }
    ProtobufReader packed = message("packed integers of " + message);
    while (packed.position < packed.end) {
      sink.accept(packed.rawVarint());
    }
  }

  /** Floats, packed or one at a time, as the bytes they are stored in. */
  ByteBuffer floats() {
    if (wireType == FIXED32) {
      return slice(advance(Float.BYTES), Float.BYTES);
    }
    ByteBuffer packed = bytes();
    if (packed.limit() % Float.BYTES != 0) {
      throw malformed(
          "packed floats take " + packed.limit() + " bytes; allowed is a multiple of 4");
    }
    return packed;
  }

  ByteBuffer bytes() {
    expect(BYTES, "bytes");
    int length = rawLength();
    return slice(advance(length), length);
  }

  /** Text of at most so many bytes. */
  String text(int maximum) {
    ByteBuffer bytes = bytes();
    if (bytes.limit() > maximum) {
      throw malformed("a text takes " + bytes.limit() + " bytes; allowed are " + maximum);
    }
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw malformed("a text is not UTF-8");
    }
  }

  ProtobufReader message(String inner) {
    expect(BYTES, "a message");
    int length = rawLength();
    int start = advance(length);
    return new ProtobufReader(buffer, start, start + length, file, inner);
  }

  MalformedFileException malformed(String problem) {
    return new MalformedFileException(
        file
            + ": not a valid ONNX file: in "
            + message
            + ", before byte "
            + position
            + ": "
            + problem);
  }

  private ByteBuffer slice(int start, int length) {
    return buffer.slice(start, length).order(ByteOrder.LITTLE_ENDIAN);
  }

  private void expect(int wanted, String what) {
    if (wireType != wanted) {
      throw malformed(
          "field "
              + field
              + " should be "
              + what
              + " (wire type "
              + wanted
              + "), was wire type "
              + wireType);
    }
  }

  private int rawLength() {
    long length = rawVarint();
    if (length < 0 || length > end - position) {
      throw malformed(
          "field "
              + field
              + " claims "
              + Long.toUnsignedString(length)
              + " bytes, but "
              + (end - position)
              + " are left");
    }
    return (int) length;
  }

  private int advance(int length) {
    if (length > end - position) {
      throw malformed(
          "field " + field + " takes " + length + " bytes, but " + (end - position) + " are left");
    }
    int start = position;
    position += length;
    return start;
  }

  private long rawVarint() {
    long value = 0;
    for (int shift = 0; shift < Long.SIZE; shift += 7) {
      if (position == end) {
        throw malformed("an integer breaks off");
      }
      byte next = buffer.get(position++);
      if (shift == 63 && next != 0 && next != 1) {
        break;
      }
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw malformed("an integer does not fit in 64 bits");
  }
}
