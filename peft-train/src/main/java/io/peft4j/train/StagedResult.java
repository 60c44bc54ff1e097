package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What a {@link StagedTraining} came to.
 *
 * @param stages what each stage came to, in order; fewer than there are if one was asked to stop
 * @param complete whether all stages have ended
 */
public record StagedResult(List<AfterStage> stages, boolean complete) {

  /** Copies. */
  public StagedResult {
    stages = List.copyOf(stages);
  }

  /**
   * What one stage came to.
   *
   * @param name the stage
   * @param trained what it trained
   * @param training its losses and rates
   * @param measured what was found after it, on the data of this stage and of each one before it:
   *     stage to evaluation, in order; empty if the stage was asked to stop
   */
  public record AfterStage(
      String name,
      List<String> trained,
      TrainingResult training,
      Map<String, Evaluation> measured) {

    /** Copies. */
    public AfterStage {
      trained = List.copyOf(trained);
      measured = Collections.unmodifiableMap(new LinkedHashMap<>(measured));
    }
  }

  /**
   * The losses on a stage's data: after that stage, then after each later one, so that forgetting
   * shows.
   *
   * @param stage the stage
   * @return at least one loss
   * @throws InvalidConfigException if no such stage has ended
   */
  public List<Double> losses(String stage) {
    List<Double> losses =
        stages.stream()
            .map(AfterStage::measured)
            .filter(measured -> measured.containsKey(stage))
            .map(measured -> measured.get(stage).loss())
            .toList();
    if (losses.isEmpty()) {
      throw new InvalidConfigException(
          "no stage '"
              + stage
              + "' has ended; there are "
              + stages.stream().map(AfterStage::name).toList());
    }
    return losses;
  }

  /**
   * By how much the loss on a stage's data has risen since that stage.
   *
   * @param stage the stage
   * @return the difference; negative if later stages made it better
   * @throws InvalidConfigException if no such stage has ended
   */
  public double forgotten(String stage) {
    List<Double> losses = losses(stage);
    return losses.get(losses.size() - 1) - losses.get(0);
  }

  /**
   * A line for each stage, with the losses on its data and on those of the stages before it.
   *
   * @return several lines
   */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    for (AfterStage stage : stages) {
      text.append(text.isEmpty() ? "" : "\n").append("after ").append(stage.name()).append(':');
      stage
          .measured()
          .forEach(
              (name, found) ->
                  text.append(String.format(Locale.ROOT, " %s=%.4f", name, found.loss())));
    }
    return text.append(complete ? "" : "\nstopped").toString();
  }
}
