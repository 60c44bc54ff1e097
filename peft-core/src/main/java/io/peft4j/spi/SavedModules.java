package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import io.peft4j.TaskType;
import io.peft4j.nn.Weight;
import io.peft4j.state.PeftDirectory;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Modules that are trained and saved whole beside an adapter ({@code modules_to_save}), under
 * {@code base_model.model.} and the path of each parameter.
 */
public final class SavedModules {
  private SavedModules() {}

  /**
   * The modules to save, with the heads that PEFT adds for a task.
   *
   * @param given {@code modules_to_save}
   * @param task {@code task_type}
   * @return names of modules
   */
  public static List<String> names(List<String> given, Optional<TaskType> task) {
    List<String> names = new ArrayList<>(given);
    List<String> heads =
        switch (task.orElse(TaskType.FEATURE_EXTRACTION)) {
          case SEQ_CLS, TOKEN_CLS -> List.of("classifier", "score");
          case QUESTION_ANS -> List.of("qa_outputs");
          default -> List.of();
        };
    heads.stream().filter(head -> !names.contains(head)).forEach(names::add);
    return names;
  }

  /**
   * The parameters of modules.
   *
   * @param context the base
   * @param modules paths of modules
   * @return name of each parameter to its module, in the model's order
   */
  public static Map<String, String> parameters(AttachContext context, List<String> modules) {
    Map<String, String> found = new LinkedHashMap<>();
    for (String module : modules) {
      for (String name : context.layout().parameterNames()) {
        if (name.startsWith(module + ".")) {
          found.put(name, module);
        }
      }
    }
    return found;
  }

  /**
   * Adds trained copies of modules: of the base's values, or the saved ones.
   *
   * @param context the base
   * @param adapter takes the copies
   * @param modules paths of modules
   * @param saved the saved tensors; null for a new adapter
   */
  public static void attach(
      AttachContext context,
      AdapterBuilder adapter,
      List<String> modules,
      @Nullable SavedTensors saved) {
    for (String name : parameters(context, modules).keySet()) {
      Weight own = context.parameter(name);
      NDArray copy = saved == null ? context.own(own.dense()) : saved.require(name, own.shape());
      if (copy != null) {
        adapter.override(name, PeftDirectory.PREFIX + name, copy, false);
      }
    }
  }
}
