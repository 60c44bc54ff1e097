package io.peft4j.state;

import static io.peft4j.state.RawFiles.tensor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** One clear refusal for each way in which a file can lie. */
class HostileFileTest {
  private static final byte[] FOUR = new byte[4];

  @TempDir Path directory;

  private static Arguments file(String what, byte[] bytes, String... parts) {
    return Arguments.of(what, bytes, parts);
  }

  private static Arguments header(String what, String header, byte[] data, String... parts) {
    return file(what, RawFiles.bytes(header, data), parts);
  }

  private static String one(String dtype, String shape, String offsets) {
    return "{\"a\":{\"dtype\":\""
        + dtype
        + "\",\"shape\":"
        + shape
        + ",\"data_offsets\":"
        + offsets
        + "}}";
  }

  static Stream<Arguments> files() {
    String good = "{" + tensor("a", "F32", "[1]", 0, 4) + "}";
    return Stream.of(
        file("nothing", new byte[0], "is empty"),
        file("three bytes", new byte[3], "has 3 bytes"),
        file("only a length", new byte[8], "does not begin with '{'"),
        file("length beyond the file", RawFiles.bytes(1000, good.getBytes(), FOUR), "1000 bytes"),
        file(
            "length of 2^63",
            RawFiles.bytes(Long.MIN_VALUE, good.getBytes(), FOUR),
            "9223372036854775808"),
        file("length of -1", RawFiles.bytes(-1, good.getBytes(), FOUR), "18446744073709551615"),
        file(
            "length one short",
            RawFiles.bytes(good.length() - 1, good.getBytes(), FOUR),
            "not valid JSON"),
        header("a list", "[]", FOUR, "does not begin with '{'"),
        header("byte order mark", "\ufeff" + good, FOUR, "does not begin with '{'"),
        header("space first", " " + good, FOUR, "does not begin with '{'"),
        header("second object", good + "{}", FOUR, "goes on after"),
        header("NUL padding", good + "\0\0", FOUR, "not valid JSON"),
        header("comment", "{/**/}", new byte[0], "not valid JSON"),
        header("cut JSON", good.substring(0, 20), FOUR, "not valid JSON"),
        file(
            "broken UTF-8",
            RawFiles.bytes(new byte[] {'{', '"', (byte) 0xc3, '"', ':', '1', '}'}),
            "not valid UTF-8"),
        file(
            "overlong UTF-8",
            RawFiles.bytes(
                good.replace("\"a\"", "\"\u00c0\u0080\"").getBytes(StandardCharsets.ISO_8859_1),
                FOUR),
            "not valid UTF-8"),
        header("half a pair", good.replace("\"a\"", "\"\\ud800\""), FOUR, "surrogate pair"),
        header("other half", good.replace("\"a\"", "\"\\udc00\""), FOUR, "surrogate"),
        header(
            "name twice",
            "{" + tensor("a", "F32", "[1]", 0, 4) + "," + tensor("a", "F32", "[1]", 0, 4) + "}",
            FOUR,
            "Duplicate",
            "'a'"),
        header(
            "dtype twice",
            "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            FOUR,
            "Duplicate",
            "'dtype'"),
        header(
            "metadata twice",
            "{\"__metadata__\":{},\"__metadata__\":{}}",
            new byte[0],
            "Duplicate"),
        header(
            "metadata key twice",
            "{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}",
            new byte[0],
            "Duplicate"),
        header(
            "metadata number",
            "{\"__metadata__\":{\"k\":1}}",
            new byte[0],
            "__metadata__",
            "'k'",
            "string"),
        header(
            "metadata nested", "{\"__metadata__\":{\"k\":{}}}", new byte[0], "__metadata__", "'k'"),
        header("metadata list", "{\"__metadata__\":[]}", new byte[0], "__metadata__ is not"),
        header(
            "metadata as tensor",
            good.replace("\"a\"", "\"__metadata__\""),
            FOUR,
            "__metadata__",
            "'shape'"),
        header("tensor null", "{\"a\":null}", new byte[0], "'a'", "JSON object"),
        header("tensor as list", "{\"a\":[\"F32\",[1],[0,4]]}", FOUR, "'a'", "JSON object"),
        header(
            "no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", FOUR, "'a'", "no dtype"),
        header(
            "no shape",
            "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}",
            FOUR,
            "'a'",
            "no shape"),
        header(
            "no offsets",
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}",
            FOUR,
            "'a'",
            "no data_offsets"),
        header("unknown dtype", one("F128", "[1]", "[0,4]"), FOUR, "'a'", "'F128'", "BF16"),
        header("dtype in small letters", one("f32", "[1]", "[0,4]"), FOUR, "'a'", "'f32'"),
        header("negative dimension", one("F32", "[-1]", "[0,4]"), FOUR, "'a'", "shape", "'-1'"),
        header("minus zero", one("F32", "[1]", "[-0,4]"), FOUR, "'a'", "data_offsets", "'-0'"),
        header("float dimension", one("F32", "[1.0]", "[0,4]"), FOUR, "'a'", "shape", "'1.0'"),
        header("text dimension", one("F32", "[\"1\"]", "[0,4]"), FOUR, "'a'", "shape"),
        header("nested shape", one("F32", "[[1]]", "[0,4]"), FOUR, "'a'", "shape"),
        header(
            "huge dimension", one("F32", "[18446744073709551617]", "[0,4]"), FOUR, "'a'", "shape"),
        header(
            "product overflows",
            one("F32", "[4294967296,4294967296]", "[0,0]"),
            new byte[0],
            "'a'",
            "cannot be"),
        header(
            "bytes overflow",
            one("F64", "[100000000000000000,20]", "[0,0]"),
            new byte[0],
            "'a'",
            "cannot be"),
        header(
            "overflow beside a zero",
            one("F32", "[0,4294967296,4294967296]", "[0,0]"),
            new byte[0],
            "'a'",
            "cannot be"),
        header(
            "65 dimensions",
            one("F32", "[" + "1,".repeat(64) + "1]", "[0,4]"),
            FOUR,
            "'a'",
            "more than 64"),
        header(
            "size too small", one("F32", "[2]", "[0,4]"), FOUR, "'a'", "takes 8 bytes", "hold 4"),
        header(
            "size too large",
            one("F32", "[1]", "[0,8]"),
            new byte[8],
            "'a'",
            "takes 4 bytes",
            "hold 8"),
        header("backward offsets", one("F32", "[1]", "[4,0]"), FOUR, "'a'", "[4, 0]"),
        header("one offset", one("F32", "[1]", "[4]"), FOUR, "'a'", "[4]"),
        header("three offsets", one("F32", "[1]", "[0,4,8]"), FOUR, "'a'", "more than 2"),
        header("half a byte", one("F4", "[3]", "[0,2]"), new byte[2], "'a'", "inside a byte"),
        header("cut data", good, new byte[3], "'a'", "ends at byte 4", "only 3"),
        header("more data", good, new byte[5], "end at byte 4", "5 bytes of data"),
        header("data without tensors", "{}", FOUR, "4 bytes of data"),
        header(
            "far away", one("F32", "[1]", "[1000000000000,1000000000004]"), FOUR, "'a'", "only 4"),
        header("starts late", one("F32", "[1]", "[4,8]"), new byte[8], "'a'", "gap"),
        header(
            "gap",
            "{" + tensor("a", "F32", "[1]", 0, 4) + "," + tensor("b", "F32", "[1]", 8, 12) + "}",
            new byte[12],
            "'b'",
            "gap"),
        header(
            "overlap",
            "{" + tensor("a", "F32", "[2]", 0, 8) + "," + tensor("b", "F32", "[2]", 4, 12) + "}",
            new byte[12],
            "'b'",
            "overlaps"),
        header(
            "same bytes twice",
            "{" + tensor("a", "F32", "[1]", 0, 4) + "," + tensor("b", "F32", "[1]", 0, 4) + "}",
            FOUR,
            "overlaps"),
        header(
            "nesting bomb",
            "{\"a\":{\"x\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}}",
            new byte[0],
            "not valid JSON",
            "nesting"),
        header("long number", one("F32", "[" + "1".repeat(10_000) + "]", "[0,4]"), FOUR, "a"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("files")
  void refuses(String what, byte[] bytes, String[] parts) {
    Path file = RawFiles.write(directory.resolve("x.safetensors"), bytes);
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> SafeTensors.open(file));
    assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
    assertTrue(e.getMessage().length() < 1500, e.getMessage());
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }

  static Stream<Arguments> fine() {
    String a = tensor("a", "F32", "[1]", 0, 4);
    return Stream.of(
        Arguments.of("plain", "{" + a + "}"),
        Arguments.of("padding", "{" + a + "}  \n\t "),
        Arguments.of("metadata last", "{" + a + ",\"__metadata__\":{\"format\":\"pt\"}}"),
        Arguments.of("metadata null", "{\"__metadata__\":null," + a + "}"),
        Arguments.of("unknown key", "{" + a.replace("{", "{\"x\":[{\"y\":null}],") + "}"),
        Arguments.of("empty tensor first", "{" + a + "," + tensor("e", "F32", "[3,0]", 0, 0) + "}"),
        Arguments.of("empty tensor last", "{" + tensor("", "I64", "[0]", 4, 4) + "," + a + "}"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("fine")
  void takesWhatTheRustLibraryTakes(String what, String header) {
    Path file = RawFiles.write(directory.resolve("x.safetensors"), RawFiles.bytes(header, FOUR));
    try (SafeTensors tensors = SafeTensors.open(file)) {
      assertEquals(4, tensors.buffer("a").remaining());
    }
  }

  @Test
  void refusesPicklesAndSaysHowToConvert() throws IOException {
    byte[] zip = {'P', 'K', 3, 4, 20, 0, 0, 0, 8, 8};
    byte[] legacy = {
      (byte) 0x80, 2, (byte) 0x8a, 10, 'l', (byte) 0xfc, (byte) 0x9c, 'F', (byte) 0xf9
    };
    byte[] good = RawFiles.bytes("{}");
    for (Path file :
        new Path[] {
          RawFiles.write(directory.resolve("x.safetensors"), zip),
          RawFiles.write(directory.resolve("y.safetensors"), legacy),
          RawFiles.write(directory.resolve("z"), zip),
          RawFiles.write(directory.resolve("adapter_model.bin"), good),
          RawFiles.write(directory.resolve("model.pt"), zip),
          RawFiles.write(directory.resolve("last.CKPT"), good),
        }) {
      MalformedFileException e =
          assertThrows(MalformedFileException.class, () -> SafeTensors.open(file));
      assertTrue(e.getMessage().contains("pickle"), e.getMessage());
      assertTrue(e.getMessage().contains("safetensors.torch.save_file("), e.getMessage());
      assertTrue(
          e.getMessage().contains("torch.load('" + file.getFileName() + "'"), e.getMessage());
    }
    // Begins like a pickle of protocol 2, but is a header of 640 bytes.
    Path looksLike =
        RawFiles.write(directory.resolve("ok.safetensors"), RawFiles.bytes("{}" + " ".repeat(638)));
    assertEquals((byte) 0x80, Files.readAllBytes(looksLike)[0]);
    SafeTensors.open(looksLike).close();
  }

  @Test
  void namesMissingFilesDirectoriesAndPointers() {
    assertMessage(directory.resolve("none.safetensors"), "there is no such file");
    assertMessage(directory.resolve("none.bin"), "there is no such file");
    assertMessage(directory, "is a directory");
    assertMessage(
        RawFiles.write(
            directory.resolve("lfs.safetensors"),
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\n".getBytes()),
        "git lfs pull");
  }

  private static void assertMessage(Path file, String part) {
    MalformedFileException e =
        assertThrows(MalformedFileException.class, () -> SafeTensors.open(file));
    assertTrue(e.getMessage().startsWith(file + ": "), e.getMessage());
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }
}
