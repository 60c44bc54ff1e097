package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checkpoints whose pieces do not fit. */
final class HostileCheckpointTest {
  private static final String WEIGHT = "model.layers.0.mlp.up_proj.weight";
  private static final String STATE = WEIGHT + ".quant_state.bitsandbytes__nf4";

  @TempDir private Path temporary;

  private final Map<String, Entry> pieces = new LinkedHashMap<>();
  private SafeTensors golden;

  @BeforeEach
  void read() {
    Path file =
        Path.of(System.getProperty("peft4j.golden"), "quantization/llama-nf4-dq/model.safetensors");
    golden = SafeTensors.open(file);
    golden.names().stream()
        .filter(name -> name.startsWith(WEIGHT))
        .forEach(name -> pieces.put(name, Entry.of(golden, name)));
  }

  private void refused(Consumer<Map<String, Entry>> change, String... expected) {
    Map<String, Entry> changed = new LinkedHashMap<>(pieces);
    change.accept(changed);
    Path file = temporary.resolve("changed.safetensors");
    SafeTensorsWriter.write(file, new ArrayList<>(changed.values()), Map.of());
    try (SafeTensors tensors = SafeTensors.open(file)) {
      MalformedFileException error =
          assertThrows(
              MalformedFileException.class, () -> BitsAndBytesReader.read(tensors, "test"));
      for (String part : List.of(expected)) {
        assertTrue(error.getMessage().contains(part), error.getMessage());
      }
      assertTrue(error.getMessage().contains(WEIGHT), error.getMessage());
    }
  }

  private static Entry floats(String name, int count) {
    return Entry.of(
        name, TensorType.F32, new Shape(count), ByteBuffer.allocate(count * Float.BYTES));
  }

  private static Entry text(String name, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return Entry.of(name, TensorType.U8, new Shape(bytes.length), ByteBuffer.wrap(bytes));
  }

  private Consumer<Map<String, Entry>> state(UnaryOperator<String> change) {
    String state = StandardCharsets.UTF_8.decode(golden.buffer(STATE)).toString();
    assertTrue(!change.apply(state).equals(state), state);
    return tensors -> tensors.put(STATE, text(STATE, change.apply(state)));
  }

  @Test
  void whatIsWholeIsRead() {
    assertEquals(new Shape(64, 32), BitsAndBytesReader.read(golden, "golden").get(WEIGHT).shape());
  }

  @Test
  void missingPieces() {
    for (String piece : List.copyOf(pieces.keySet())) {
      String part = piece.substring(WEIGHT.length());
      refused(tensors -> tensors.remove(piece), part.isEmpty() ? "the codes themselves" : part);
    }
  }

  @Test
  void surplusPieces() {
    refused(tensors -> tensors.put("x", floats(WEIGHT + ".quant_state.more", 1)), "2 states");
    String fp4 = WEIGHT + ".quant_state.bitsandbytes__fp4";
    refused(tensors -> tensors.put(fp4, text(fp4, "{}")), "2 states");
  }

  @Test
  void aTypeThatIsNotKnown() {
    String nf3 = WEIGHT + ".quant_state.bitsandbytes__nf3";
    refused(
        tensors -> {
          tensors.remove(STATE);
          tensors.put(nf3, text(nf3, "{}"));
        },
        "nf3",
        "nf4 and fp4");
    refused(state(json -> json.replace("nf4", "fp4")), "nf4 by name", "fp4");
  }

  @Test
  void piecesOfTheWrongSize() {
    for (String piece : List.copyOf(pieces.keySet())) {
      if (!piece.equals(STATE)) {
        String expected = piece.equals(WEIGHT) ? "12 bytes" : "3 values of type F32";
        refused(tensors -> tensors.put(piece, floats(piece, 3)), expected);
      }
    }
  }

  @Test
  void statesThatLie() {
    refused(state(json -> json.replace("[64, 32]", "[64, 33]")), "33 of U8");
    refused(state(json -> json.replace("[64, 32]", "[9999999999, 9999999999]")), "the shape");
    refused(state(json -> json.replace("[64, 32]", "[-64, -32]")), "the shape");
    refused(state(json -> json.replace("[64, 32]", "\"big\"")), "the shape");
    refused(state(json -> json.replace(": 64", ": 48")), "blocks of 48");
    refused(state(json -> json.replace(": 64", ": 1e9")), "blocksize");
    refused(state(json -> json.replace("\"dtype\": \"float32\"", "\"dtype\": \"int8\"")), "int8");
    refused(state(json -> json.replace("256", "128")), "nested_blocksize 256");
    refused(state(json -> json.replace("nested_offset", "offset")), "'offset'");
    refused(state(json -> json.substring(1)), "JSON");
    refused(state(json -> "[]"), "JSON object");
  }

  @Test
  void aCodeBookOfSomebodyElse() {
    refused(
        tensors -> tensors.put(WEIGHT + ".quant_map", floats(WEIGHT + ".quant_map", 16)),
        "code book");
  }
}
