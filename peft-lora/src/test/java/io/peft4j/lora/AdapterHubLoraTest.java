package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.PeftModel;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Precision;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** LoRA directories of AdapterHub's library give that library's outputs. */
final class AdapterHubLoraTest {
  private static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));

  @ParameterizedTest
  @ValueSource(
      strings = {"bert-lora", "bert-classifier-lora", "llama-lora", "llama-lora-intermediate"})
  void outputs(String name) {
    Path directory = ROOT.resolve("hub").resolve(name);
    String base = Json.readObject(directory.resolve("case.json")).get("base").textValue();
    LoadOptions options = LoadOptions.builder().precision(Precision.FLOAT32).build();
    try (PretrainedModel model =
            PretrainedModel.load(ROOT.resolve("models").resolve(base), options);
        PeftModel adapted = PeftModel.load(model, directory);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(directory.resolve("io.safetensors"))) {
      NDList inputs = new NDList();
      for (String input : new String[] {"input_ids", "attention_mask"}) {
        NDArray array = io.array(manager, input).duplicate();
        array.setName(input);
        inputs.add(array);
      }
      NDArray difference = adapted.forward(inputs).head().sub(io.float32(manager, "output")).abs();
      if (difference.getShape().dimension() == 3) {
        difference =
            difference.mul(inputs.get(1).toType(difference.getDataType(), false).expandDims(2));
      }
      float error = difference.max().getFloat();
      assertTrue(error <= 1e-5, "differs by " + error);
    }
  }
}
