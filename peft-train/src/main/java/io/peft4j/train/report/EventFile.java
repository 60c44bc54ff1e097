package io.peft4j.train.report;

import io.peft4j.PeftException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * A file of TensorBoard's events: TFRecords that hold protocol buffers.
 *
 * <p>A record is the length of its data (uint64), the masked CRC-32C of those eight bytes (uint32),
 * the data, and the masked CRC-32C of the data (uint32), all little-endian. Masked means rotated
 * right by 15 bits, plus 0xa282ead8. The data is a {@code tensorflow.Event}: {@code wall_time} (1,
 * double, seconds), {@code step} (2, int64), and one of {@code file_version} (3, string; in the
 * first record "brain.Event:2"), {@code summary} (5) and {@code session_log} (7). A summary is
 * repeated values (1), each with {@code tag} (1, string) and {@code simple_value} (2, float). A
 * session log with {@code status} (1) START, which is 1, says that what was told of its step and of
 * later ones before is void.
 */
final class EventFile {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private final Path file;

  private EventFile(Path file) {
    this.file = file;
  }

  /** Makes a new file whose first event gives its version. */
  static EventFile create(Path file, double wallTime) {
    EventFile events = new EventFile(file);
    Message event = event(wallTime, 0);
    event.bytes(3, "brain.Event:2".getBytes(StandardCharsets.UTF_8));
    events.write(event, StandardOpenOption.CREATE_NEW);
    return events;
  }

  void start(double wallTime, long step) {
    Message log = new Message();
    log.integer(1, 1);
    Message event = event(wallTime, step);
    event.bytes(7, log.toByteArray());
    write(event, StandardOpenOption.APPEND);
  }

  void scalars(double wallTime, long step, Map<String, Double> values) {
    Message summary = new Message();
    values.forEach(
        (tag, number) -> {
          Message value = new Message();
          value.bytes(1, tag.getBytes(StandardCharsets.UTF_8));
          value.float32(2, number.floatValue());
          summary.bytes(1, value.toByteArray());
        });
    Message event = event(wallTime, step);
    event.bytes(5, summary.toByteArray());
    write(event, StandardOpenOption.APPEND);
  }

  private static Message event(double wallTime, long step) {
    Message event = new Message();
    event.float64(1, wallTime);
    if (step != 0) {
      event.integer(2, step);
    }
    return event;
  }

  private void write(Message event, StandardOpenOption how) {
    byte[] data = event.toByteArray();
    ByteBuffer record = ByteBuffer.allocate(data.length + 16).order(ByteOrder.LITTLE_ENDIAN);
    record.putLong(data.length);
    record.putInt(maskedChecksum(record.array(), 8));
    record.put(data);
    record.putInt(maskedChecksum(data, data.length));
    record.flip();
    try (FileChannel channel = FileChannel.open(file, how, StandardOpenOption.WRITE)) {
      while (record.hasRemaining()) {
        channel.write(record);
      }
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be written: " + e, e);
    }
  }

  private static int maskedChecksum(byte[] bytes, int length) {
    CRC32C checksum = new CRC32C();
    checksum.update(bytes, 0, length);
    return Integer.rotateRight((int) checksum.getValue(), 15) + 0xa282ead8;
  }

  /** As much of protocol buffers' wire format as events need. */
  private static final class Message {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    void integer(int field, long value) {
      varint(field << 3 | VARINT);
      varint(value);
    }

    void bytes(int field, byte[] value) {
      varint(field << 3 | BYTES);
      varint(value.length);
      out.writeBytes(value);
    }

    void float32(int field, float value) {
      varint(field << 3 | FIXED32);
      out.writeBytes(littleEndian(4).putFloat(value).array());
    }

    void float64(int field, double value) {
      varint(field << 3 | FIXED64);
      out.writeBytes(littleEndian(8).putDouble(value).array());
    }

    byte[] toByteArray() {
      return out.toByteArray();
    }

    private static ByteBuffer littleEndian(int size) {
      return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    }

    private void varint(long value) {
      long left = value;
      for (; (left & ~0x7fL) != 0; left >>>= 7) {
        out.write((int) (left & 0x7f | 0x80));
      }
      out.write((int) left);
    }
  }
}
