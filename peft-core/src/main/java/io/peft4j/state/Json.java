package io.peft4j.state;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * JSON as configuration files need it: read strictly, written the way Python writes it.
 *
 * <p>Reading takes RFC 8259 and nothing else: no comments, no NaN, no text after the value, no key
 * twice in one object, valid UTF-8, at most {@value #MAX_DEPTH} levels, numbers of at most {@value
 * #MAX_NUMBER} characters, files of at most 100 MB.
 */
public final class Json {
  /** Deepest nesting that is read. */
  static final int MAX_DEPTH = 128;

  /** Most characters of one number. */
  static final int MAX_NUMBER = 400;

  /** Largest file that is read, in bytes. */
  static final int MAX_FILE = 100_000_000;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  // Keys come from files of unknown origin: they go into no table that outlives
                  // them.
                  .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                  .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .disable(StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION)
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(MAX_DEPTH)
                          .maxNumberLength(MAX_NUMBER)
                          .maxStringLength(MAX_FILE)
                          .build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .build();

  private Json() {}

  /**
   * The mapper that reads as described above. Shared: never reconfigure it.
   *
   * @return the mapper
   */
  public static ObjectMapper mapper() {
    return MAPPER;
  }

  /**
   * Reads a file.
   *
   * @param file a JSON file
   * @return its value
   * @throws MalformedFileException if it is missing, cannot be read, or is not JSON as described
   *     above
   */
  public static JsonNode read(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      long size = Files.size(file);
      if (size > MAX_FILE) {
        throw new MalformedFileException(
            file + ": " + size + " bytes are too many for a JSON file; at most " + MAX_FILE);
      }
      return read(strictUtf8(in), file.toString());
    } catch (NoSuchFileException e) {
      throw new MalformedFileException(file + ": there is no such file", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  /**
   * Reads a file that must hold an object.
   *
   * @param file a JSON file
   * @return its value, a new object each time
   * @throws MalformedFileException as {@link #read(Path)}, or if the value is not an object
   */
  public static ObjectNode readObject(Path file) {
    JsonNode value = read(file);
    if (value instanceof ObjectNode object) {
      return object;
    }
    throw new MalformedFileException(file + ": must hold a JSON object, but holds " + kind(value));
  }

  /**
   * Reads text.
   *
   * @param text JSON
   * @param origin what error messages call the text, for example a file's name
   * @return its value
   * @throws MalformedFileException if it is not JSON as described above
   */
  public static JsonNode parse(String text, String origin) {
    try (Reader reader = new java.io.StringReader(text)) {
      return read(reader, origin);
    } catch (IOException e) {
      throw new MalformedFileException(origin + ": cannot be read: " + e, e);
    }
  }

  /**
   * Turns maps, lists, strings, numbers, booleans and null into a tree.
   *
   * @param value the value
   * @return the tree
   */
  public static JsonNode toTree(Object value) {
    return MAPPER.valueToTree(value);
  }

  /**
   * Writes as Python's {@code json.dumps(value, indent=2, sort_keys=True)} does, byte for byte:
   * keys in the order of their code points, everything but printable ASCII escaped, floats in their
   * shortest form ({@code 32.0}, {@code 1e-05}), integers without a point, {@code []} and {@code
   * {}} for what is empty, no newline at the end.
   *
   * @param value the tree; a Java float counts as the double of the same value
   * @return the text, all ASCII
   * @throws io.peft4j.InvalidConfigException if a number is NaN or infinite, which JSON cannot say
   */
  public static String toPythonString(JsonNode value) {
    return PythonJson.write(value);
  }

  /**
   * Writes a string as Python's json module does.
   *
   * @param out takes the text, quotes included
   * @param text any string
   * @param ascii whether all but printable ASCII is escaped; else only control characters are
   */
  public static void quote(StringBuilder out, String text, boolean ascii) {
    PythonJson.quote(out, text, ascii);
  }

  private static JsonNode read(Reader reader, String origin) throws IOException {
    try {
      JsonNode value = MAPPER.readTree(reader);
      if (value.isMissingNode()) {
        throw new MalformedFileException(origin + ": is empty where JSON is expected");
      }
      return value;
    } catch (CharacterCodingException e) {
      throw new MalformedFileException(origin + ": is not valid UTF-8", e);
    } catch (JsonProcessingException e) {
      throw new MalformedFileException(origin + ": " + describe(e), e);
    }
  }

  /** A parser over UTF-8 bytes that fails on bytes that are none. */
  static JsonParser parser(byte[] utf8) throws IOException {
    return MAPPER.getFactory().createParser(strictUtf8(new ByteArrayInputStream(utf8)));
  }

  /** The parser's complaint and the place, in one line and of bounded length. */
  static String describe(JsonProcessingException e) {
    String what = String.valueOf(e.getOriginalMessage()).replace('\n', ' ');
    String where =
        e.getLocation() == null
            ? ""
            : " (line "
                + e.getLocation().getLineNr()
                + ", column "
                + e.getLocation().getColumnNr()
                + ")";
    return "is not valid JSON: "
        + (what.length() > 200 ? what.substring(0, 200) + "..." : what)
        + where;
  }

  private static Reader strictUtf8(InputStream in) {
    return new InputStreamReader(
        in,
        StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPORT)
            .onUnmappableCharacter(CodingErrorAction.REPORT));
  }

  private static String kind(JsonNode value) {
    return switch (value.getNodeType()) {
      case ARRAY -> "a list";
      case STRING -> "a string";
      case NUMBER -> "a number";
      case BOOLEAN -> "a boolean";
      case NULL -> "null";
      default -> "something else";
    };
  }
}
