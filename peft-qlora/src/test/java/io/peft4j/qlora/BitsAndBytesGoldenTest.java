package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.TensorInfo;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.zip.CRC32;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Directories that transformers quantized, and the same made here. */
final class BitsAndBytesGoldenTest {
  private static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  private static final Path FOLDER = GOLDEN.resolve("quantization");
  private static final ObjectNode CASES = Json.readObject(FOLDER.resolve("models.json"));

  @TempDir private Path temporary;

  static List<String> names() {
    return CASES.properties().stream().map(Map.Entry::getKey).toList();
  }

  private static PretrainedModel quantized(String name) {
    JsonNode golden = CASES.get(name);
    BitsAndBytesConfig config =
        BitsAndBytesConfig.read((ObjectNode) golden.get("config"), "golden");
    return PretrainedModel.load(
        GOLDEN.resolve("models").resolve(golden.get("base").textValue()),
        LoadOptions.builder().quantization(config).precision(Precision.FLOAT32).build());
  }

  private static TensorType type(String base) {
    return base.equals("llama-tied")
        ? TensorType.BF16
        : base.equals("llama-f16") ? TensorType.F16 : TensorType.F32;
  }

  private Path saved(String name) {
    Path target = temporary.resolve(name);
    try (PretrainedModel model = quantized(name)) {
      TensorType type = type(CASES.get(name).get("base").textValue());
      model.save(target, SaveOptions.builder().type(type).asStored().build());
    }
    return target;
  }

  private static Map<String, String> tensors(Path directory) {
    Map<String, String> described = new TreeMap<>();
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      for (String name : checkpoint.names()) {
        if (!name.endsWith("quant_map")) {
          TensorInfo info = checkpoint.info(name);
          CRC32 crc = new CRC32();
          crc.update(checkpoint.buffer(name));
          String sizes =
              Arrays.stream(info.shape().getShape())
                  .mapToObj(Long::toString)
                  .collect(Collectors.joining(", ", "[", "]"));
          described.put(
              name,
              BitsAndBytesConfig.name(info.type())
                  + " "
                  + sizes
                  + " "
                  + String.format("%08x", crc.getValue()));
        }
      }
    }
    return described;
  }

  @ParameterizedTest
  @MethodSource("names")
  void theDirectoryIsThatOfTransformersTensorForTensor(String name) {
    Path saved = saved(name);
    Map<String, String> expected = new TreeMap<>();
    CASES
        .get(name)
        .get("tensors")
        .properties()
        .forEach(entry -> expected.put(entry.getKey(), entry.getValue().textValue()));
    assertEquals(String.join("\n", lines(expected)), String.join("\n", lines(tensors(saved))));
    assertEquals(
        CASES.get(name).get("config"),
        Json.readObject(saved.resolve("config.json")).get("quantization_config"));
  }

  private static List<String> lines(Map<String, String> tensors) {
    return tensors.entrySet().stream().map(Object::toString).toList();
  }

  @Test
  void theFileIsThatOfTransformersByteForByte() throws IOException {
    Path saved = saved("llama-nf4-dq");
    assertArrayEquals(
        Files.readAllBytes(FOLDER.resolve("llama-nf4-dq/model.safetensors")),
        Files.readAllBytes(saved.resolve("model.safetensors")));
  }

  @ParameterizedTest
  @MethodSource("names")
  void itComputesWhatTheUnpackedWeightsCompute(String name) {
    try (PretrainedModel model = quantized(name)) {
      assertOutput(name, model);
    }
    try (PretrainedModel model =
        PretrainedModel.load(
            saved(name), LoadOptions.builder().precision(Precision.FLOAT32).build())) {
      assertOutput(name, model);
    }
  }

  private static void assertOutput(String name, PretrainedModel model) {
    try (NDManager manager = NDManager.newBaseManager();
        SafeTensors io = SafeTensors.open(FOLDER.resolve("io.safetensors"))) {
      NDArray ids = io.array(manager, name + "/input_ids");
      ids.setName("input_ids");
      NDArray mask = io.array(manager, name + "/attention_mask");
      mask.setName("attention_mask");
      float[] expected = io.float32(manager, name + "/output").toFloatArray();
      float[] computed = model.forward(new NDList(ids, mask)).head().toFloatArray();
      assertArrayEquals(expected, computed, 1e-4f);
    }
  }

  @Test
  void aDirectoryOfTransformersLoadsAndIsSavedAgain() throws IOException {
    Path target = temporary.resolve("again");
    try (PretrainedModel model = PretrainedModel.load(FOLDER.resolve("llama-nf4-dq"))) {
      assertOutput("llama-nf4-dq", model);
      try (WeightSnapshot lease = model.weights().lease()) {
        String name = "model.layers.0.self_attn.q_proj.weight";
        Weight weight = lease.weight(model.weights().layout().parameterIndex(name));
        assertInstanceOf(FourBitWeight.class, weight);
        // 16 blocks of 64: codes, a byte each, and one scale for them all.
        assertEquals(512 + 16 + 4, weight.bytes());
      }
      model.save(target, SaveOptions.builder().asStored().build());
      model.save(temporary.resolve("dense"));
    }
    assertArrayEquals(
        Files.readAllBytes(FOLDER.resolve("llama-nf4-dq/model.safetensors")),
        Files.readAllBytes(target.resolve("model.safetensors")));
    ObjectNode config = Json.readObject(temporary.resolve("dense/config.json"));
    assertTrue(config.path("quantization_config").isMissingNode());
    try (PretrainedModel dense = PretrainedModel.load(temporary.resolve("dense"))) {
      assertOutput("llama-nf4-dq", dense);
    }
  }

  @Test
  void whatIsQuantizedAlreadyIsNotQuantizedAgain() {
    LoadOptions options =
        LoadOptions.builder().quantization(BitsAndBytesConfig.builder().build()).build();
    InvalidConfigException refused =
        assertThrows(
            InvalidConfigException.class,
            () -> PretrainedModel.load(FOLDER.resolve("llama-nf4-dq"), options));
    assertTrue(refused.getMessage().contains("quantized already"));
  }
}
