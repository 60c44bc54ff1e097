package io.peft4j.bench;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * Merging an adapter on all linear layers of the Llama shape, against copying those weights: into
 * new memory, which is what merging has to do since the base is kept, and into memory that has been
 * used before.
 */
final class MergeScenario {
  private static final int ROUNDS = 15;

  private MergeScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel base = BaseShape.LLAMA.random(settings.tiny());
        PeftModel model = Peft.wrap(base, BaseShape.LLAMA.loraOnAll());
        WeightSnapshot weights = base.weights().lease()) {
      List<NDArray> sources = new ArrayList<>();
      List<NDArray> targets = new ArrayList<>();
      for (LayerSpec layer : base.layout().layers()) {
        boolean head = base.layout().outputLayer().filter(layer.path()::equals).isPresent();
        if (layer.kind() == LayerKind.LINEAR && !head) {
          int index = base.layout().parameterIndex(layer.weightName());
          NDArray source = weights.weight(index).dense();
          sources.add(source);
          NDArray target = source.duplicate();
          target.attach(manager);
          targets.add(target);
        }
      }
      List<NDArray> copies = new ArrayList<>();
      Times times =
          new InTurns()
              .task("merge", model::merge, model::unmerge)
              .task("safe_merge", model::safeMerge, model::unmerge)
              .task(
                  "copy_new",
                  () -> sources.forEach(source -> copies.add(source.duplicate())),
                  () -> {
                    copies.forEach(NDArray::close);
                    copies.clear();
                  })
              .task(
                  "copy_used",
                  () -> {
                    for (int i = 0; i < targets.size(); i++) {
                      sources.get(i).copyTo(targets.get(i));
                    }
                  })
              .run(3, ROUNDS);
      Times undo = new InTurns().task("unmerge", model::unmerge, model::merge).run(2, ROUNDS);
      double bytes = sources.stream().mapToLong(a -> a.getShape().size() * Float.BYTES).sum();
      figures.add("merge.mebibytes", bytes / (1 << 20));
      for (String task : times.tasks()) {
        figures.add("merge." + task + ".ms", times.milliseconds(task));
      }
      figures.add("merge.unmerge.ms", undo.milliseconds("unmerge"));
      for (String copy : List.of("copy_new", "copy_used")) {
        figures.add("merge.bandwidth_of_" + copy + ".ratio", times.ratio(copy, "merge"));
      }
    }
  }
}
