package io.peft4j.train.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.state.Json;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * A file with one JSON object a line, in UTF-8, a byte order mark before it or none. Lines end with
 * a line feed, perhaps after a carriage return; those with nothing but spaces count but hold no
 * row. JSON is read as {@link Json} says, lines of at most {@value #LONGEST} bytes.
 */
final class JsonLines {
  /** Most bytes of a line. */
  static final int LONGEST = 32 << 20;

  private JsonLines() {}

  /** What is done with a row; false for no more. */
  interface Visitor {
    boolean row(long offset, int bytes, int line, ObjectNode row);
  }

  /** Goes over all rows in their order, one in memory at a time. */
  static void read(Path file, Visitor visitor) {
    try (InputStream in = new BufferedInputStream(Files.newInputStream(file), 1 << 16)) {
      ByteArrayOutputStream line = new ByteArrayOutputStream();
      long offset = 0;
      for (int number = 1; ; number++) {
        boolean ended = line(in, line, file, number);
        byte[] bytes = line.toByteArray();
        int mark = offset == 0 ? byteOrderMark(bytes) : 0;
        if (!isBlank(bytes, mark)) {
          int length = bytes.length - mark;
          ObjectNode row = parse(bytes, mark, name(file, number));
          if (!visitor.row(offset + mark, length, number, row)) {
            return;
          }
        }
        if (!ended) {
          return;
        }
        offset += bytes.length + 1L;
      }
    } catch (NoSuchFileException e) {
      throw new MalformedFileException(file + ": there is no such file", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  /** Reads up to a line feed; false if the file ends first. */
  private static boolean line(InputStream in, ByteArrayOutputStream line, Path file, int number)
      throws IOException {
    line.reset();
    for (int next = in.read(); next >= 0; next = in.read()) {
      if (next == '\n') {
        return true;
      }
      if (line.size() == LONGEST) {
        throw new MalformedFileException(
            name(file, number) + ": the line has more than " + LONGEST + " bytes");
      }
      line.write(next);
    }
    return false;
  }

  private static int byteOrderMark(byte[] bytes) {
    boolean marked =
        bytes.length > 2
            && bytes[0] == (byte) 0xEF
            && bytes[1] == (byte) 0xBB
            && bytes[2] == (byte) 0xBF;
    return marked ? 3 : 0;
  }

  private static boolean isBlank(byte[] bytes, int from) {
    for (int i = from; i < bytes.length; i++) {
      if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r') {
        return false;
      }
    }
    return true;
  }

  /** Reads a row again. */
  static ObjectNode read(FileChannel file, Path path, long offset, int bytes, int line)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes);
    while (buffer.hasRemaining()) {
      if (file.read(buffer, offset + buffer.position()) < 0) {
        throw changed(path, line);
      }
    }
    return parse(buffer.array(), 0, name(path, line));
  }

  static MalformedFileException changed(Path file, int line) {
    return new MalformedFileException(
        name(file, line) + ": the file has changed since it was first read");
  }

  static String name(Path file, int line) {
    return file + ", line " + line;
  }

  private static ObjectNode parse(byte[] bytes, int from, String origin) {
    String text;
    try {
      text =
          StandardCharsets.UTF_8
              .newDecoder()
              .decode(ByteBuffer.wrap(bytes, from, bytes.length - from))
              .toString();
    } catch (CharacterCodingException e) {
      throw new MalformedFileException(origin + ": is not valid UTF-8", e);
    }
    if (Json.parse(text, origin) instanceof ObjectNode row) {
      return row;
    }
    throw new MalformedFileException(origin + ": a line must hold one JSON object");
  }
}
