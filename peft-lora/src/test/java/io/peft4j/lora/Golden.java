package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** The files that Hugging Face PEFT made, see tools/oracle. */
final class Golden {
  static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));

  private Golden() {}

  static PretrainedModel model(String name) {
    return PretrainedModel.load(
        ROOT.resolve("models").resolve(name),
        LoadOptions.builder().precision(Precision.FLOAT32).build());
  }

  static List<Path> directories(String area) throws IOException {
    try (Stream<Path> paths = Files.list(ROOT.resolve(area))) {
      return paths.filter(Files::isDirectory).sorted().toList();
    }
  }

  /** All tensors of a file, each under its name and without one of its own. */
  static Map<String, NDArray> tensors(NDManager manager, Path file) {
    Map<String, NDArray> tensors = new LinkedHashMap<>();
    try (SafeTensors file0 = SafeTensors.open(file)) {
      for (String name : file0.names()) {
        NDArray array = file0.array(manager, name).duplicate();
        array.setName(null);
        tensors.put(name, array);
      }
    }
    return tensors;
  }

  static NDList inputs(Map<String, NDArray> io) {
    NDArray ids = io.get("input_ids").duplicate();
    ids.setName("input_ids");
    NDArray mask = io.get("attention_mask").duplicate();
    mask.setName("attention_mask");
    return new NDList(ids, mask);
  }

  /**
   * Asserts that two arrays are equal within a tolerance relative to the largest expected value.
   */
  static void assertClose(NDArray expected, NDArray actual, double tolerance, String what) {
    assertTrue(
        expected.getShape().equals(actual.getShape()),
        () -> what + ": " + actual.getShape() + " instead of " + expected.getShape());
    float[] e = expected.toFloatArray();
    float[] a = actual.toFloatArray();
    double worst = 0;
    double largest = 1;
    for (int i = 0; i < e.length; i++) {
      double difference = Math.abs(e[i] - a[i]);
      worst = difference <= worst ? worst : difference;
      largest = Math.max(largest, Math.abs(e[i]));
    }
    double error = worst / largest;
    assertTrue(error <= tolerance, what + " differs by " + error);
  }
}
