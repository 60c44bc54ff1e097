package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.state.Json;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Precision;
import io.peft4j.train.Batch;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainable;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Gradients of adapters over a base in bfloat16: computed in float32 they are PEFT's, computed in
 * bfloat16 they are about as far from these as PEFT's own bfloat16 is, though LoRA's products are
 * rounded here and computed in float32 there.
 */
final class RoundedGradientTest {
  /** Rounding errors of one sum in two orders differ, but not by more than such a factor. */
  private static final double MORE = 1.5;

  @TempDir Path temporary;

  @ParameterizedTest
  @ValueSource(strings = {"llama", "phi3-partial", "gemma2", "gpt2"})
  void isAsCloseAsPeftIs(String name) {
    Path directory = Golden.ROOT.resolve("training").resolve(name + "-all-linear");
    try (PretrainedModel model = Golden.model(name)) {
      model.save(temporary, SaveOptions.builder().type(TensorType.BF16).build());
    }
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> exact =
          Golden.tensors(manager, directory.resolve("rounded.safetensors"));
      Map<String, NDArray> io = Golden.tensors(manager, directory.resolve("io.safetensors"));
      Errors in32 = Errors.of(exact, gradients(directory, Precision.FLOAT32, io));
      assertTrue(in32.worst < 1e-4, name + " in float32: " + in32);
      Errors in16 = Errors.of(exact, gradients(directory, Precision.BFLOAT16, io));
      var peft = Json.readObject(directory.resolve("rounded.json"));
      assertTrue(in16.whole > 1e-4, name + " was not computed in bfloat16");
      String message = name + " in bfloat16: " + in16 + ", PEFT: " + peft;
      assertTrue(in16.whole <= MORE * peft.get("whole").asDouble(), message);
      assertTrue(in16.worst <= MORE * peft.get("worst_tensor").asDouble(), message);
    }
  }

  private Map<String, float[]> gradients(
      Path directory, Precision precision, Map<String, NDArray> io) {
    LoadOptions options = LoadOptions.builder().precision(precision).build();
    try (PretrainedModel base = PretrainedModel.load(temporary, options);
        PeftModel model = PeftModel.load(base, directory.resolve("start"))) {
      model.trainAdapters(Peft.DEFAULT_ADAPTER);
      NDManager own = NDManager.newBaseManager("PyTorch");
      NDList inputs = new NDList(first(io, "input_ids", own), first(io, "attention_mask", own));
      try (Batch batch = new Batch(own, inputs, new NDList(first(io, "labels", own)))) {
        Trainable.of(model)
            .accumulateGradients(
                batch, Losses.causalLanguageModel(), ForwardMode.TRAINING_WITHOUT_DROPOUT, 1);
      }
      Map<String, float[]> gradients = new TreeMap<>();
      for (TrainableParameter parameter : model.trainableParameters()) {
        try (NDArray gradient = JniUtils.getGradient((PtNDArray) parameter.array())) {
          gradients.put(parameter.name(), gradient.toFloatArray());
        }
      }
      return gradients;
    }
  }

  private static NDArray first(Map<String, NDArray> io, String name, NDManager owner) {
    NDArray array = io.get(name).get(0).duplicate();
    array.attach(owner);
    return array;
  }

  /** Relative differences in the norm: of all gradients as one, and of the worst tensor. */
  private record Errors(double whole, double worst) {

    static Errors of(Map<String, NDArray> expected, Map<String, float[]> actual) {
      assertEquals(new TreeMap<>(expected).keySet(), actual.keySet());
      double largest = expected.values().stream().mapToDouble(Errors::norm).max().orElseThrow();
      double worst = 0;
      double differences = 0;
      double values = 0;
      for (Map.Entry<String, NDArray> each : expected.entrySet()) {
        double norm = norm(each.getValue());
        try (NDArray other =
                each.getValue()
                    .getManager()
                    .create(actual.get(each.getKey()), each.getValue().getShape());
            NDArray difference = each.getValue().sub(other)) {
          double error = norm(difference);
          worst = Math.max(worst, error / Math.max(norm, 1e-3 * largest));
          differences += error * error;
          values += norm * norm;
        }
      }
      return new Errors(Math.sqrt(differences / values), worst);
    }

    private static double norm(NDArray array) {
      double sum = 0;
      for (float value : array.toFloatArray()) {
        sum += (double) value * value;
      }
      return Math.sqrt(sum);
    }
  }
}
