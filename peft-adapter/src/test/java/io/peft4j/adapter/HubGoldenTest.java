package io.peft4j.adapter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.torch.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Directories that AdapterHub saved give AdapterHub's outputs, and are saved again alike. */
final class HubGoldenTest {
  private static final Path ROOT = Path.of(System.getProperty("peft4j.golden"));
  private static final double TOLERANCE = 1e-5;

  @TempDir Path temporary;

  @TestFactory
  Stream<DynamicTest> adapters() throws IOException {
    return tests(false);
  }

  @TestFactory
  Stream<DynamicTest> stacks() throws IOException {
    return tests(true);
  }

  private Stream<DynamicTest> tests(boolean stacks) throws IOException {
    try (Stream<Path> paths = Files.list(ROOT.resolve("hub"))) {
      return paths.sorted().toList().stream()
          .filter(dir -> !dir.getFileName().toString().contains("lora"))
          .filter(dir -> Files.exists(dir.resolve("adapter_config.json")) != stacks)
          .map(
              dir -> DynamicTest.dynamicTest(dir.getFileName().toString(), () -> run(dir, stacks)));
    }
  }

  private void run(Path directory, boolean stack) throws IOException {
    String base = Json.readObject(directory.resolve("case.json")).get("base").textValue();
    LoadOptions options = LoadOptions.builder().precision(Precision.FLOAT32).build();
    Path root = ROOT.resolve("models").resolve(base);
    try (PretrainedModel model = PretrainedModel.load(root, options);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors io = SafeTensors.open(directory.resolve("io.safetensors"))) {
      NDList inputs = new NDList();
      for (String name : new String[] {"input_ids", "attention_mask"}) {
        NDArray array = io.array(manager, name).duplicate();
        array.setName(name);
        inputs.add(array);
      }
      if (stack) {
        stack(model, directory, io, manager, inputs);
      } else {
        single(model, directory, io, manager, inputs);
      }
    }
  }

  private void single(
      PretrainedModel model, Path directory, SafeTensors io, NDManager manager, NDList inputs)
      throws IOException {
    try (PeftModel adapted = PeftModel.load(model, directory)) {
      assertTrue(adapted.adapter(Peft.DEFAULT_ADAPTER).notes().isEmpty());
      assertClose(io.float32(manager, "base"), adapted.with().forward(inputs), inputs);
      assertClose(io.float32(manager, "output"), adapted.forward(inputs), inputs);
      Path saved = temporary.resolve(directory.getFileName());
      adapted.save(saved, Peft.DEFAULT_ADAPTER);
      assertEquals(
          Json.readObject(directory.resolve("adapter_config.json")),
          Json.readObject(saved.resolve("adapter_config.json")));
      assertEquals(tensors(directory, manager), tensors(saved, manager));
    }
  }

  /** Name and values of each tensor; AdapterHub has some norms under two names. */
  private static Set<String> tensors(Path directory, NDManager manager) {
    try (SafeTensors file = SafeTensors.open(directory.resolve("adapter.safetensors"))) {
      return file.names().stream()
          .filter(name -> !name.contains("adapter_norm_before"))
          .map(name -> name + Arrays.toString(file.float32(manager, name).toFloatArray()))
          .collect(Collectors.toCollection(TreeSet::new));
    }
  }

  private static void stack(
      PretrainedModel model, Path directory, SafeTensors io, NDManager manager, NDList inputs) {
    try (PeftModel adapted = Peft.open(model)) {
      Json.readObject(directory.resolve("case.json"))
          .get("parts")
          .forEach(
              part -> adapted.loadAdapter(part.textValue(), directory.resolve(part.textValue())));
      for (String name : io.names()) {
        if (name.startsWith("output.")) {
          String[] order = name.substring("output.".length()).split("\\.");
          assertClose(io.float32(manager, name), adapted.with(order).forward(inputs), inputs);
        }
      }
    }
  }

  /** Compares where there are tokens: what stands at padding depends on the attention's kernel. */
  private static void assertClose(NDArray expected, NDList outputs, NDList inputs) {
    NDArray difference = outputs.head().sub(expected).abs();
    if (expected.getShape().dimension() == 3) {
      NDArray mask = inputs.get(1).toType(difference.getDataType(), false).expandDims(2);
      difference = difference.mul(mask);
    }
    float error = difference.max().getFloat();
    assertTrue(error <= TOLERANCE, "differs by " + error);
  }
}
