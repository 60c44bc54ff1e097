package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.TensorType;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * What a run of the command gave.
 *
 * @param code exit code
 * @param out standard output
 * @param err standard error
 */
record Cli(int code, String out, String err) {
  static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));

  static Cli run(Object... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    List<String> words = new ArrayList<>();
    for (Object arg : args) {
      words.add(arg.toString());
    }
    int code =
        PeftCommand.run(new PrintWriter(out), new PrintWriter(err), words.toArray(String[]::new));
    return new Cli(code, out.toString(), err.toString());
  }

  static Path model(String name) {
    return GOLDEN.resolve("models").resolve(name);
  }

  static Path adapter(String name) {
    return GOLDEN.resolve("adapters").resolve(name);
  }

  static Path multi(String model, String name) {
    return GOLDEN.resolve("multi").resolve(model).resolve(name);
  }

  /** The result on standard output, nothing on standard error. */
  Cli succeeded() {
    assertEquals(0, code, out + err);
    assertEquals("", err);
    return this;
  }

  /** One line on standard error that has all these parts, and nothing on standard output. */
  void refused(String... parts) {
    assertEquals(2, code, out + err);
    assertEquals("", out);
    assertEquals(1, err.lines().count(), err);
    assertTrue(err.startsWith("peft: "), err);
    for (String part : parts) {
      assertTrue(err.contains(part), "'" + part + "' is not in: " + err);
    }
  }

  /** Writes a safetensors file of inputs [1, length] and a float32 tensor. */
  static Path io(Path file, long[] ids, String key, long[] shape, float... values) {
    ByteBuffer idBytes = ByteBuffer.allocate(8 * ids.length).order(ByteOrder.LITTLE_ENDIAN);
    for (long id : ids) {
      idBytes.putLong(id);
    }
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      bytes.putFloat(value);
    }
    SafeTensorsWriter.write(
        file,
        List.of(
            SafeTensorsWriter.Entry.of(
                "input_ids",
                TensorType.I64,
                new ai.djl.ndarray.types.Shape(1, ids.length),
                idBytes.flip()),
            SafeTensorsWriter.Entry.of(
                key, TensorType.F32, new ai.djl.ndarray.types.Shape(shape), bytes.flip())),
        Map.of());
    return file;
  }
}
