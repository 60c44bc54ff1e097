package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tensors in memory and in files. */
abstract class StateChecks extends Checks {
  StateChecks(Supplier<Fixture> source) {
    super(source);
  }

  @Test
  void tensorsInMemoryMakeTheSameAdapter() {
    try (PeftModel model = wrapRandom()) {
      model.addAdapter("copy", fixture.config(), model.stateDict(A, manager));
      Numbers.assertSame(state(model, A), state(model, "copy"), "the copy's state");
      Numbers.assertClose(forward(model), forward(model, "copy"), 1e-6, "the copy's output");
    }
  }

  @Test
  void savedAndLoadedIsTheSameAdapter(@TempDir Path directory) throws IOException {
    float[] trained;
    Map<String, float[]> state;
    try (PeftModel model = wrapRandom()) {
      Sgd.train(model, network, manager, 2, 0.1f);
      trained = forward(model);
      state = state(model, A);
      model.save(directory.resolve("first"));
    }
    try (TestNetwork fresh = fixture.network();
        PeftModel loaded = PeftModel.load(fresh.block(), directory.resolve("first"))) {
      assertEquals(List.of(A), loaded.adapterNames());
      assertEquals(List.of(), loaded.trainedAdapters());
      Numbers.assertSame(state, state(loaded, A), "the loaded state");
      assertEquals(List.of(), loaded.adapter(A).notes());
      Numbers.assertClose(trained, forward(loaded), 1e-6, "the loaded adapter's output");
      loaded.save(directory.resolve("second"));
      loaded.trainAdapters(A);
      Sgd.train(loaded, fresh, manager, 1, 0.1f);
    }
    Map<String, byte[]> second = files(directory.resolve("second"));
    Map<String, byte[]> first = files(directory.resolve("first"));
    assertEquals(first.keySet(), second.keySet());
    first.forEach((name, bytes) -> assertArrayEquals(bytes, second.get(name), name));
  }

  private static Map<String, byte[]> files(Path directory) throws IOException {
    Map<String, byte[]> contents = new TreeMap<>();
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        contents.put(directory.relativize(file).toString(), Files.readAllBytes(file));
      }
    }
    return contents;
  }

  @Test
  void namesAreNotInTheState(@TempDir Path directory) {
    // Names that occur in others, in keys and in paths.
    List<String> names = List.of("a", "aa", "lora");
    try (PeftModel model = wrapRandom()) {
      for (int i = 0; i < names.size(); i++) {
        model.addAdapter(names.get(i), fixture.config());
        randomise(model, names.get(i), 100 + i);
        assertEquals(state(model, A).keySet(), state(model, names.get(i)).keySet());
      }
      model.save(directory);
      try (TestNetwork fresh = fixture.network();
          PeftModel loaded = PeftModel.load(fresh.block(), directory)) {
        Numbers.assertClose(forward(model), forward(loaded), 1e-6, "the default's output");
        for (String name : names) {
          loaded.loadAdapter("again-" + name, directory.resolve(name));
          Numbers.assertSame(state(model, name), state(loaded, "again-" + name), name);
          Numbers.assertClose(
              forward(model, name),
              forward(loaded, "again-" + name),
              1e-6,
              "the output of " + name);
        }
      }
    }
  }

  @Test
  void chosenAdaptersAreSaved(@TempDir Path directory) {
    try (PeftModel model = wrapTwo()) {
      model.save(directory, B);
      assertTrue(Files.isDirectory(directory.resolve(B)));
      assertThrows(PeftException.class, () -> PeftModel.load(network.block(), directory));
      assertRefused(() -> model.save(directory, B, "missing"), "'missing'");
      model.loadAdapter("third", directory.resolve(B));
      Numbers.assertClose(
          forward(model, B), forward(model, "third"), 1e-6, "the loaded adapter's output");
    }
  }

  @Test
  void theStateIsReplaced() {
    try (PeftModel model = wrapRandom()) {
      SortedMap<String, NDArray> first = model.stateDict(A, manager);
      float[] output = forward(model);
      randomise(model, A, 7);
      Numbers.assertDiffers(output, forward(model), "the output after a change");
      model.loadStateDict(A, first);
      Numbers.assertClose(output, forward(model), 1e-6, "the output after loading the first state");
      Numbers.assertSame(values(first), state(model, A), "the state after loading the first");
      assertEquals(List.of(A), model.trainedAdapters());
      assertTrue(model.trainableParameters().stream().allMatch(p -> p.array().hasGradient()));
    }
  }

  private static Map<String, float[]> values(Map<String, NDArray> tensors) {
    Map<String, float[]> values = new TreeMap<>();
    tensors.forEach((key, array) -> values.put(key, array.toFloatArray()));
    return values;
  }

  @Test
  void aStateThatDoesNotFitIsRefusedAndChangesNothing() {
    try (PeftModel model = wrapRandom()) {
      float[] output = forward(model);
      SortedMap<String, NDArray> state = model.stateDict(A, manager);
      for (String key : model.adapter(A).parameters().keySet()) {
        if (state.containsKey(key)) {
          SortedMap<String, NDArray> less = new TreeMap<>(state);
          NDArray array = Objects.requireNonNull(less.remove(key));
          assertUnfit(model, less, key);
          less.put(key, wider(array));
          assertUnfit(model, less, key);
        }
      }
      SortedMap<String, NDArray> more = new TreeMap<>(state);
      more.put("base_model.model.surplus.weight", manager.zeros(new Shape(2)));
      assertUnfit(model, more, "surplus.weight");
      Numbers.assertSame(output, forward(model), "the output after refusals");
      Numbers.assertSame(values(state), state(model, A), "the state after refusals");
    }
  }

  private NDArray wider(NDArray array) {
    long[] shape = array.getShape().getShape().clone();
    shape[shape.length - 1]++;
    return manager.zeros(new Shape(shape));
  }

  private static void assertUnfit(PeftModel model, Map<String, NDArray> state, String key) {
    int live = LiveArrays.count();
    AdapterStateException e =
        assertThrows(AdapterStateException.class, () -> model.loadStateDict(A, state), key);
    String path = key.replace("base_model.model.", "");
    assertTrue(String.valueOf(e.getMessage()).contains(path), e.getMessage());
    LiveArrays.assertCount(live, "a refused state");
    assertThrows(
        AdapterStateException.class,
        () -> model.addAdapter("unfit", model.adapter(A).config(), state));
    assertEquals(List.of(Peft.DEFAULT_ADAPTER), model.adapterNames());
    LiveArrays.assertCount(live, "a refused adapter");
  }
}
