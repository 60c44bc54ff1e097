package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.TrainableParameter;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.TensorType;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Kernel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/** Trained tensors as a whole: their names, and their values in a file. */
final class Parameters {
  private static final Kernel COPY =
      Kernel.of("a: Tensor, b: Tensor -> Tensor", "return torch.copy_(a, b)");

  private Parameters() {}

  /** Adapter and state key; what is of no adapter has its key alone. */
  static String key(TrainableParameter parameter) {
    return parameter.adapter().isEmpty()
        ? parameter.name()
        : parameter.adapter() + "." + parameter.name();
  }

  static void save(List<TrainableParameter> parameters, Path file) {
    SafeTensorsWriter.write(
        file,
        parameters.stream().map(p -> SafeTensorsWriter.Entry.of(key(p), p.array())).toList(),
        Map.of("format", "pt"));
  }

  /** Writes a file's values into the parameters' memory, all or, if the file does not fit, none. */
  static void load(List<TrainableParameter> parameters, Path file) {
    Map<String, NDArray> arrays = new LinkedHashMap<>();
    parameters.forEach(p -> arrays.put(key(p), p.array()));
    try (SafeTensors saved = SafeTensors.open(file)) {
      check(arrays, saved);
      try (GradMode off = GradMode.off()) {
        arrays.forEach((key, array) -> copy(saved, key, array));
      }
    }
  }

  private static void check(Map<String, NDArray> arrays, SafeTensors saved) {
    if (!saved.names().equals(arrays.keySet())) {
      throw new AdapterStateException(
          saved.file()
              + ": has not the tensors that are trained; it lacks "
              + without(arrays.keySet(), saved.names())
              + " and has "
              + without(saved.names(), arrays.keySet())
              + ", which are not trained here");
    }
    arrays.forEach(
        (key, array) -> {
          long[] shape = saved.info(key).shape().getShape();
          if (!Arrays.equals(shape, array.getShape().getShape())
              || saved.info(key).type() != TensorType.F32) {
            throw new AdapterStateException(
                saved.file()
                    + ": '"
                    + key
                    + "' must be F32 "
                    + array.getShape()
                    + ", is "
                    + saved.info(key).type()
                    + " "
                    + saved.info(key).shape());
          }
        });
  }

  private static String without(Set<String> all, Set<String> others) {
    List<String> rest = all.stream().filter(name -> !others.contains(name)).sorted().toList();
    return rest.isEmpty()
        ? "none"
        : rest.stream().limit(3).collect(Collectors.joining(", "))
            + (rest.size() > 3 ? " and " + (rest.size() - 3) + " more" : "");
  }

  /** Writes one array's values into another's memory; neither has a name. */
  static void copy(NDArray to, NDArray from) {
    COPY.call(to, from);
  }

  private static void copy(SafeTensors saved, String key, NDArray array) {
    try (NDScope scope = new NDScope();
        NDManager own = NDManager.newBaseManager(array.getDevice(), "PyTorch")) {
      scope.suppressNotUsedWarning();
      // Without its name, which would change how the kernel takes it.
      COPY.call(array.stopGradient(), saved.float32Copy(own, key));
    }
  }
}
