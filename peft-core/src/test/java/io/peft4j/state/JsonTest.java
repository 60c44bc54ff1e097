package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
  @TempDir Path directory;

  @Test
  void writesWhatPythonWrites() {
    Map<String, Object> nested = new LinkedHashMap<>();
    nested.put("empty", Map.of());
    nested.put("Zero", -0.0);
    Map<String, Object> value = new LinkedHashMap<>();
    value.put("r", 8);
    value.put("alpha", 32.0);
    value.put("\uffff", 1);
    value.put("😀", 2);
    value.put("list", Arrays.asList("q", true, null, List.of(), List.of(1)));
    value.put("nested", nested);
    value.put("text", "\"\\/\b\f\n\r\t\u0001\u007f é\u2028😀");
    value.put("big", new java.math.BigInteger("123456789012345678901234567890"));
    // json.dumps(value, indent=2, sort_keys=True), printed by Python.
    assertEquals(
        """
        {
          "alpha": 32.0,
          "big": 123456789012345678901234567890,
          "list": [
            "q",
            true,
            null,
            [],
            [
              1
            ]
          ],
          "nested": {
            "Zero": -0.0,
            "empty": {}
          },
          "r": 8,
          "text": "\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f \\u00e9\\u2028\\ud83d\\ude00",
          "\\uffff": 1,
          "\\ud83d\\ude00": 2
        }""",
        Json.toPythonString(Json.toTree(value)));
    assertEquals("[]", Json.toPythonString(Json.toTree(List.of())));
    assertEquals("{}", Json.toPythonString(Json.toTree(Map.of())));
  }

  @ParameterizedTest
  @CsvSource({
    "0.0, 0.0",
    "1e-5, 1e-05",
    "1.5e-5, 1.5e-05",
    "1e-4, 0.0001",
    "0.00012345, 0.00012345",
    "32, 32.0",
    "0.1, 0.1",
    "0.30000000000000004, 0.30000000000000004",
    "1e15, 1000000000000000.0",
    "1e16, 1e+16",
    "12345678901234567890, 1.2345678901234567e+19",
    "123456789012345.6, 123456789012345.6",
    "9007199254740993, 9007199254740992.0",
    "2e-3, 0.002",
    "2.0e-3, 0.002",
    "4.9e-324, 5e-324",
    "1.7976931348623157e308, 1.7976931348623157e+308",
    "2.2250738585072014e-308, 2.2250738585072014e-308",
    "2e23, 2e+23",
    "1e23, 1e+23",
    "9.999999999999999e22, 1e+23",
    "5e-324, 5e-324",
    "1.0e100, 1e+100",
    "-7.5, -7.5",
    "9.5367431640625e-07, 9.5367431640625e-07",
    "2.98023223876953125e-8, 2.9802322387695312e-08",
    "4.35, 4.35",
    "8.41e21, 8.41e+21",
    "2.0E-3, 0.002",
    "9.5e-3, 0.0095",
  })
  void writesFloatsAsPythonsRepr(String java, String python) {
    assertEquals(python, PythonJson.repr(Double.parseDouble(java)));
  }

  @Test
  void refusesToWriteWhatJsonCannotSay() {
    for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
      JsonNode node = JsonNodeFactory.instance.numberNode(bad);
      assertThrows(InvalidConfigException.class, () -> Json.toPythonString(node));
    }
  }

  @Test
  void keepsIntegersAndFloatsApart() {
    String text = "{\n  \"a\": 1,\n  \"b\": 1.0,\n  \"c\": 1e-05\n}";
    assertEquals(text, Json.toPythonString(Json.parse(text, "text")));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":1,\"b\":2}}",
        "{} {}",
        "{} x",
        "{\"a\":NaN}",
        "{\"a\":01}",
        "{'a':1}",
        "{a:1}",
        "[1,]",
        "// no\n{}",
        "{\"a\":\"\n\"}",
      })
  void refusesWhatIsNotStrictJson(String text) {
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> Json.parse(text, "some.json"));
    assertTrue(e.getMessage().startsWith("some.json: "), e.getMessage());
  }

  @Test
  void boundsDepthAndNumbers() {
    assertThrows(
        MalformedFileException.class,
        () -> Json.parse("[".repeat(200_000) + "]".repeat(200_000), "deep"));
    assertThrows(MalformedFileException.class, () -> Json.parse("9".repeat(100_000), "long"));
    assertEquals(100, depth(Json.parse("[".repeat(100) + "]".repeat(100), "fine")));
  }

  private static int depth(JsonNode node) {
    return 1 + (node.isEmpty() ? 0 : depth(node.get(0)));
  }

  @Test
  void readsFiles() throws IOException {
    Path file = directory.resolve("a.json");
    Files.writeString(file, "{\"ä\": [1]}\n");
    ObjectNode object = Json.readObject(file);
    assertEquals(1, object.get("ä").get(0).intValue());

    Files.writeString(file, "[1]");
    assertMessage(file, "must hold a JSON object, but holds a list");
    Files.write(file, new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'});
    assertMessage(file, "not valid UTF-8");
    Files.write(file, new byte[0]);
    assertMessage(file, "is empty");
    Files.delete(file);
    assertMessage(file, "there is no such file");
    Files.createDirectory(file);
    assertMessage(file, "cannot be read");
  }

  private static void assertMessage(Path file, String part) {
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> Json.readObject(file));
    assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  /** Every configuration that Python wrote for the golden adapters comes back byte for byte. */
  @Test
  void rewritesPythonsOwnFiles() throws IOException {
    List<Path> files = new ArrayList<>();
    try (Stream<Path> walk = Files.walk(GoldenFilesTest.GOLDEN.resolve("adapters"))) {
      walk.filter(f -> f.endsWith("adapter_config.json")).forEach(files::add);
    }
    try (Stream<Path> walk = Files.walk(GoldenFilesTest.GOLDEN.resolve("models"))) {
      walk.filter(f -> f.endsWith("model.safetensors.index.json")).forEach(files::add);
    }
    assertTrue(files.size() > 3, files.toString());
    for (Path file : files) {
      String text = Files.readString(file);
      assertEquals(
          text.stripTrailing(), Json.toPythonString(Json.readObject(file)), file.toString());
    }
  }
}
