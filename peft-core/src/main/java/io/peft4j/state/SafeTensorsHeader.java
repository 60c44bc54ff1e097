package io.peft4j.state;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The JSON at the start of a safetensors file: parsed and checked, or made.
 *
 * @param tensors name to what and where, in the order of the data
 * @param metadata free text by key
 */
record SafeTensorsHeader(Map<String, TensorInfo> tensors, Map<String, String> metadata) {
  /** The key that no tensor may have. */
  static final String METADATA = "__metadata__";

  /** The longest header that the format allows, in bytes. */
  static final int MAX_LENGTH = 100_000_000;

  /** As many dimensions as the engine counts. */
  private static final int MAX_DIMENSIONS = 64;

  /** The order of UTF-8 bytes, which is not that of Java's UTF-16 strings. */
  static final Comparator<String> BY_CODE_POINT = SafeTensorsHeader::compareCodePoints;

  /**
   * Parses and checks a header.
   *
   * @param file what messages call the file
   * @param json the header's bytes
   * @param dataLength number of bytes that follow the header
   */
  static SafeTensorsHeader parse(String file, byte[] json, long dataLength) {
    try (JsonParser parser = Json.parser(json)) {
      SafeTensorsHeader header = new Parser(file, parser).header();
      return new SafeTensorsHeader(
          inDataOrder(file, header.tensors.values(), dataLength), header.metadata);
    } catch (CharacterCodingException e) {
      throw new MalformedFileException(file + ": the header is not valid UTF-8", e);
    } catch (JsonProcessingException e) {
      throw new MalformedFileException(file + ": the header " + Json.describe(e), e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": the header cannot be read: " + e, e);
    }
  }

  /** Tensors must cover the data without gap or overlap. */
  private static Map<String, TensorInfo> inDataOrder(
      String file, Iterable<TensorInfo> tensors, long dataLength) {
    List<TensorInfo> sorted = new ArrayList<>();
    tensors.forEach(sorted::add);
    sorted.sort(Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end));
    Map<String, TensorInfo> result = new LinkedHashMap<>();
    long position = 0;
    for (TensorInfo info : sorted) {
      if (info.end() > dataLength) {
        throw new MalformedFileException(
            at(file, info.name())
                + "ends at byte "
                + info.end()
                + " of the data, but the file has only "
                + dataLength
                + " bytes of data; it may have been cut short");
      }
      if (info.begin() != position) {
        throw new MalformedFileException(
            at(file, info.name())
                + (info.begin() < position ? "overlaps another tensor: it" : "leaves a gap: it")
                + " begins at byte "
                + info.begin()
                + " of the data, but must begin at "
                + position);
      }
      position = info.end();
      result.put(info.name(), info);
    }
    if (position != dataLength) {
      throw new MalformedFileException(
          file
              + ": the tensors end at byte "
              + position
              + " of the data, but "
              + dataLength
              + " bytes of data follow the header");
    }
    return Collections.unmodifiableMap(result);
  }

  private static String at(String file, String name) {
    return file + ": tensor " + quote(name) + " ";
  }

  /** A name for messages: bounded, without control characters. */
  static String quote(String name) {
    StringBuilder quoted = new StringBuilder("'");
    name.codePoints()
        .limit(200)
        .forEach(c -> quoted.appendCodePoint(Character.isISOControl(c) ? '?' : c));
    return quoted.append(name.codePointCount(0, name.length()) > 200 ? "...'" : "'").toString();
  }

  /** Whether a string has a form in UTF-8: no half of a surrogate pair stands alone. */
  static boolean isUnicode(String text) {
    return StandardCharsets.UTF_8.newEncoder().canEncode(text);
  }

  private static int compareCodePoints(String a, String b) {
    int length = Math.min(a.length(), b.length());
    for (int i = 0; i < length; i++) {
      char x = a.charAt(i);
      char y = b.charAt(i);
      if (x != y) {
        // Surrogates stand for code points above all other chars.
        boolean high = Character.isSurrogate(x);
        return high == Character.isSurrogate(y) ? Character.compare(x, y) : high ? 1 : -1;
      }
    }
    return Integer.compare(a.length(), b.length());
  }

  /**
   * Makes the header's bytes: compact JSON, metadata first, tensors in the order given, padded with
   * spaces to a multiple of 8.
   */
  byte[] encode() {
    StringBuilder json = new StringBuilder("{");
    if (!metadata.isEmpty()) {
      string(json, METADATA);
      json.append(":{");
      metadata.forEach(
          (key, value) -> {
            string(json, key);
            json.append(':');
            string(json, value);
            json.append(',');
          });
      json.setCharAt(json.length() - 1, '}');
      json.append(',');
    }
    for (TensorInfo info : tensors.values()) {
      string(json, info.name());
      json.append(":{\"dtype\":\"").append(info.type()).append("\",\"shape\":[");
      for (int i = 0; i < info.shape().dimension(); i++) {
        json.append(i == 0 ? "" : ",").append(info.shape().get(i));
      }
      json.append("],\"data_offsets\":[").append(info.begin()).append(',').append(info.end());
      json.append("]},");
    }
    if (json.length() > 1) {
      json.setLength(json.length() - 1);
    }
    byte[] text = json.append('}').toString().getBytes(StandardCharsets.UTF_8);
    byte[] padded = java.util.Arrays.copyOf(text, (text.length + 7) / 8 * 8);
    java.util.Arrays.fill(padded, text.length, padded.length, (byte) ' ');
    return padded;
  }

  private static void string(StringBuilder json, String text) {
    json.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> json.append("\\\"");
        case '\\' -> json.append("\\\\");
        case '\n' -> json.append("\\n");
        case '\r' -> json.append("\\r");
        case '\t' -> json.append("\\t");
        case '\f' -> json.append("\\f");
        case '\b' -> json.append("\\b");
        default -> {
          if (c < ' ') {
            json.append("\\u00").append(c < 16 ? '0' : '1').append(Character.forDigit(c & 15, 16));
          } else {
            json.append(c);
          }
        }
      }
    }
    json.append('"');
  }

  /** Reads the header token by token, so that no claim in it makes anything large. */
  private record Parser(String file, JsonParser json) {

    SafeTensorsHeader header() throws IOException {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        throw new MalformedFileException(file + ": the header is not a JSON object");
      }
      Map<String, TensorInfo> tensors = new LinkedHashMap<>();
      Map<String, String> metadata = Map.of();
      while (json.nextToken() != JsonToken.END_OBJECT) {
        String name = json.currentName();
        json.nextToken();
        if (name.equals(METADATA)) {
          metadata = metadata();
        } else {
          if (!isUnicode(name)) {
            throw new MalformedFileException(
                at(file, name) + "has half a surrogate pair in its name");
          }
          tensors.put(name, tensor(name));
        }
      }
      if (json.nextToken() != null) {
        throw new MalformedFileException(file + ": the header goes on after its JSON object");
      }
      return new SafeTensorsHeader(tensors, metadata);
    }

    private Map<String, String> metadata() throws IOException {
      if (json.currentToken() == JsonToken.VALUE_NULL) {
        return Map.of();
      }
      if (json.currentToken() != JsonToken.START_OBJECT) {
        throw new MalformedFileException(file + ": __metadata__ is not a JSON object");
      }
      Map<String, String> metadata = new LinkedHashMap<>();
      while (json.nextToken() != JsonToken.END_OBJECT) {
        String key = json.currentName();
        if (json.nextToken() != JsonToken.VALUE_STRING) {
          throw new MalformedFileException(
              file
                  + ": __metadata__ key "
                  + quote(key)
                  + " is not a string; only strings may be there");
        }
        metadata.put(key, json.getText());
      }
      return Collections.unmodifiableMap(metadata);
    }

    private TensorInfo tensor(String name) throws IOException {
      if (json.currentToken() != JsonToken.START_OBJECT) {
        throw new MalformedFileException(at(file, name) + "is not described by a JSON object");
      }
      TensorType type = null;
      long[] shape = null;
      long[] offsets = null;
      while (json.nextToken() != JsonToken.END_OBJECT) {
        String key = json.currentName();
        json.nextToken();
        switch (key) {
          case "dtype" -> type = type(name);
          case "shape" -> shape = naturals(name, key, MAX_DIMENSIONS);
          case "data_offsets" -> offsets = naturals(name, key, 2);
          default -> json.skipChildren();
        }
      }
      if (type == null || shape == null || offsets == null) {
        throw new MalformedFileException(
            at(file, name)
                + "has no "
                + (type == null ? "dtype" : shape == null ? "shape" : "data_offsets"));
      }
      if (offsets.length != 2 || offsets[0] > offsets[1]) {
        throw new MalformedFileException(
            at(file, name)
                + "has data_offsets "
                + java.util.Arrays.toString(offsets)
                + "; a begin and an end not before it are needed");
      }
      long bytes = bytes(name, type, shape);
      if (offsets[1] - offsets[0] != bytes) {
        throw new MalformedFileException(
            at(file, name)
                + "of type "
                + type
                + " and shape "
                + java.util.Arrays.toString(shape)
                + " takes "
                + bytes
                + " bytes, but its data_offsets "
                + java.util.Arrays.toString(offsets)
                + " hold "
                + (offsets[1] - offsets[0]));
      }
      return new TensorInfo(name, type, new Shape(shape), offsets[0], offsets[1]);
    }

    private TensorType type(String name) throws IOException {
      String text = json.currentToken() == JsonToken.VALUE_STRING ? json.getText() : null;
      TensorType type = text == null ? null : TensorType.named(text).orElse(null);
      if (type == null) {
        throw new MalformedFileException(
            at(file, name)
                + "has the unknown dtype "
                + quote(text == null ? String.valueOf(json.currentToken()) : text)
                + "; known are "
                + java.util.Arrays.toString(TensorType.values()));
      }
      return type;
    }

    private long[] naturals(String name, String key, int most) throws IOException {
      if (json.currentToken() != JsonToken.START_ARRAY) {
        throw new MalformedFileException(at(file, name) + "has a " + key + " that is not a list");
      }
      long[] values = new long[most];
      int count = 0;
      while (json.nextToken() != JsonToken.END_ARRAY) {
        if (count == most) {
          throw new MalformedFileException(
              at(file, name) + "has a " + key + " of more than " + most + " numbers");
        }
        String text = json.currentToken() == JsonToken.VALUE_NUMBER_INT ? json.getText() : "";
        // Up to 18 digits fit a long; no file has more bytes, and no real tensor more elements.
        if (text.isEmpty() || text.startsWith("-") || text.length() > 18) {
          throw new MalformedFileException(
              at(file, name)
                  + "has a "
                  + key
                  + " with something that is not a whole number from 0 to 10^18: "
                  + quote(String.valueOf(json.getText())));
        }
        values[count++] = Long.parseLong(text);
      }
      return java.util.Arrays.copyOf(values, count);
    }

    private long bytes(String name, TensorType type, long[] shape) {
      try {
        long elements = 1;
        // Even beside a zero the others must not overflow: the engine multiplies them for strides.
        long strides = 1;
        for (long size : shape) {
          elements = Math.multiplyExact(elements, size);
          strides = Math.multiplyExact(strides, Math.max(size, 1));
        }
        return type.bytes(elements);
      } catch (ArithmeticException e) {
        throw new MalformedFileException(
            at(file, name)
                + "has a shape that cannot be: "
                + java.util.Arrays.toString(shape)
                + " of "
                + type
                + " ("
                + e.getMessage()
                + ")",
            e);
      }
    }
  }

  /** The first name that stands twice in a list; null if none does. */
  static @Nullable String firstDuplicate(Iterable<String> names) {
    Map<String, Boolean> seen = new HashMap<>();
    for (String name : names) {
      if (seen.put(name, true) != null) {
        return name;
      }
    }
    return null;
  }
}
