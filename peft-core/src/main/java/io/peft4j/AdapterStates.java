package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.nn.Backbone;
import io.peft4j.spi.Adapter;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.state.AdapterState;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;

/** Takes adapters out of a model: as copies in memory, and as files. */
final class AdapterStates {
  private AdapterStates() {}

  /** Copies of an adapter's tensors as they are saved, owned by a manager. */
  static SortedMap<String, NDArray> copy(Adapter adapter, NDManager owner) {
    return with(
        adapter,
        state -> {
          SortedMap<String, NDArray> copies = new TreeMap<>();
          state
              .tensors()
              .forEach(
                  (key, array) -> {
                    NDArray copy = array.duplicate();
                    copy.attach(owner);
                    NDScope.unregister(copy);
                    copies.put(key, copy);
                  });
          return copies;
        });
  }

  /** The configuration that goes with an adapter's saved tensors. */
  static PeftConfig config(Adapter adapter, PeftMethod method) {
    return with(adapter, state -> method.readConfig(state.config()));
  }

  /** Writes an adapter's directory. */
  static Path save(Adapter adapter, Backbone backbone, Path directory) {
    return with(
        adapter,
        state -> {
          backbone.origin().ifPresent(origin -> addOrigin(state.config(), origin));
          PeftMethods.of(adapter.config()).write(directory, state);
          return directory;
        });
  }

  private static <T> T with(Adapter adapter, Function<AdapterState, T> use) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      return use.apply(adapter.state());
    }
  }

  private static void addOrigin(ObjectNode config, Backbone.Origin origin) {
    if (!config.hasNonNull("base_model_name_or_path")) {
      config.put("base_model_name_or_path", origin.nameOrPath());
    }
    // PEFT names the class of the base where no task type says how to load it.
    if (!config.hasNonNull("task_type") && !config.hasNonNull("auto_mapping")) {
      config
          .putObject("auto_mapping")
          .put("base_model_class", origin.className())
          .put("parent_library", origin.library());
    }
  }
}
