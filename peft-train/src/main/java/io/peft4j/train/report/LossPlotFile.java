package io.peft4j.train.report;

import io.peft4j.train.Evaluation;
import io.peft4j.train.LossPlot;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.TrainingStep;
import java.nio.file.Path;
import java.util.TreeMap;

/**
 * Draws the losses of a run when it has ended: those of all steps, also from before the run was
 * taken up again, and beside them those of the evaluations.
 */
public final class LossPlotFile implements TrainingListener {
  private final Path png;

  /**
   * Names the file; nothing is written yet.
   *
   * @param png the picture to write or replace; its directory must be there when the run ends
   */
  public LossPlotFile(Path png) {
    this.png = png;
  }

  @Override
  public void onStep(TrainingStep step) {}

  @Override
  public void onEnd(TrainingResult result) {
    if (result.steps() == 0) {
      return;
    }
    LossPlot.Builder plot =
        LossPlot.builder()
            .run("training", result.losses().stream().mapToDouble(loss -> loss).toArray());
    // A step may have been evaluated twice, by its interval and at the end.
    TreeMap<Long, Double> evaluated = new TreeMap<>();
    for (Evaluation evaluation : result.evaluations()) {
      if (Double.isFinite(evaluation.loss())) {
        evaluated.put(evaluation.step(), evaluation.loss());
      }
    }
    if (!evaluated.isEmpty()) {
      plot.run(
          "evaluation",
          evaluated.keySet().stream().mapToDouble(step -> step).toArray(),
          evaluated.values().stream().mapToDouble(loss -> loss).toArray());
    }
    plot.build().write(png);
  }
}
