package io.peft4j.train.report;

import io.peft4j.InvalidConfigException;
import io.peft4j.state.AtomicFiles;
import io.peft4j.train.Evaluation;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingStep;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Writes a run's curves for TensorBoard ({@code tensorboard --logdir DIRECTORY}), as scalars:
 *
 * <ul>
 *   <li>every so many steps {@code train/loss} (the mean since the last one written), {@code
 *       train/grad_norm}, {@code train/learning_rate}, and {@code train/tokens_per_second} where
 *       tokens are counted; {@code train/grad_norm/<adapter>} where several are trained;
 *   <li>at an evaluation {@code eval/loss}, {@code eval/perplexity} and {@code eval/<metric>}.
 * </ul>
 *
 * <p>The file is {@code events.out.tfevents.<seconds>.<host>.<process>.<n>}; each run writes one of
 * its own. A run that is taken up again in the same directory begins with a mark that has
 * TensorBoard forget what earlier files say of the steps from there on.
 *
 * <p>Each event is with the operating system when the listener returns, and nothing stays open in
 * between. Not for use by several threads.
 */
public final class TensorBoardWriter implements TrainingListener {
  private static final AtomicInteger NUMBER = new AtomicInteger();

  private final Path directory;
  private final LoggedSteps logged;
  private final LongSupplier millis;
  private @Nullable EventFile events;

  /**
   * Names the directory; nothing is written yet.
   *
   * @param directory where the file goes; made where it is missing
   * @param loggingSteps how many steps there are to a point of the curves, from 1
   * @throws InvalidConfigException if that is below 1
   */
  public TensorBoardWriter(Path directory, int loggingSteps) {
    this(directory, loggingSteps, System::currentTimeMillis);
  }

  TensorBoardWriter(Path directory, int loggingSteps, LongSupplier millis) {
    this.directory = directory;
    this.logged = new LoggedSteps(loggingSteps);
    this.millis = millis;
  }

  @Override
  public void onStep(TrainingStep step) {
    EventFile file = events(step.step());
    if (logged.add(step)) {
      Map<String, Double> values = new LinkedHashMap<>();
      logged.values(step).forEach((name, value) -> values.put("train/" + name, value));
      if (step.adapterNorms().size() > 1) {
        step.adapterNorms().forEach((name, value) -> values.put("train/grad_norm/" + name, value));
      }
      file.scalars(now(), step.step(), values);
    }
  }

  @Override
  public void onEvaluation(Evaluation evaluation) {
    Map<String, Double> values = new LinkedHashMap<>();
    evaluation.values().forEach((name, value) -> values.put("eval/" + name, value));
    events(evaluation.step()).scalars(now(), evaluation.step(), values);
  }

  private double now() {
    return millis.getAsLong() / 1e3;
  }

  /** The file, made when there is something to write. */
  private EventFile events(long step) {
    EventFile file = events;
    if (file == null) {
      AtomicFiles.createDirectories(directory);
      double time = now();
      String name =
          String.format(
              "events.out.tfevents.%010d.%s.%d.%d",
              (long) time, host(), ProcessHandle.current().pid(), NUMBER.getAndIncrement());
      file = EventFile.create(directory.resolve(name), time);
      file.start(time, step);
      events = file;
    }
    return file;
  }

  private static String host() {
    try {
      return InetAddress.getLocalHost().getHostName().replaceAll("[^A-Za-z0-9.-]", "_");
    } catch (UnknownHostException e) {
      return "localhost";
    }
  }
}
