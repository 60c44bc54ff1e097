package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import java.io.PrintStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.time.Duration;
import java.util.Locale;
import java.util.function.LongSupplier;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;

/**
 * Shows how far a training run is, on standard error: steps done and still to do, steps a second,
 * time left, loss and learning rate.
 *
 * <p>In a terminal this is one line with a bar that is drawn over and over. Where standard error
 * goes to a file or a pipe it is a plain line every few seconds and one at the end, such as
 *
 * <pre>{@code lora: 120/250 (48%), loss 0.4312, learning rate 1.2e-03, 9.3 steps/s, 0:00:14 left}
 * </pre>
 *
 * <p>As a {@linkplain TrainingListener listener} of a run it counts the run's steps, also those
 * made before the run was taken up again, and shows what evaluations find: in a line of their own,
 * or behind the bar.
 *
 * <p>The loss shown is a moving average over about the last twenty steps, for a single batch tells
 * little. For the use of one thread; the bar is drawn from a daemon thread of its own, so a step
 * costs microseconds. Close it when training ends, also when it fails: the last state stays to be
 * seen.
 */
public final class TrainingProgress implements TrainingListener, AutoCloseable {
  private static final Duration LINE_EVERY = Duration.ofSeconds(5);
  private static final double AVERAGE_DECAY = 0.9;

  private final String name;
  private final long total;
  private final @Nullable ProgressBar bar;
  private final PrintStream lines;
  private final LongSupplier nanoTime;
  private final long started;

  private long done;
  private long doneBefore;
  private long doneWhenPrinted;
  private long printed;
  private double averageSum;
  private double averageWeight;
  private double learningRate;
  private String evaluated = "";
  private boolean closed;

  TrainingProgress(
      String name, long total, boolean terminal, PrintStream lines, LongSupplier nanoTime) {
    if (total <= 0) {
      throw new InvalidConfigException("a training run should have at least 1 step, has " + total);
    }
    this.name = name;
    this.total = total;
    this.lines = lines;
    this.nanoTime = nanoTime;
    this.bar = terminal ? bar(name, total) : null;
    this.started = nanoTime.getAsLong();
    this.printed = started;
  }

  /**
   * Starts the clock and shows the first state.
   *
   * @param name what is being trained, in a word or two
   * @param totalSteps how many steps there will be, above 0
   * @return the display; close it when training ends
   * @throws InvalidConfigException if there are no steps
   */
  public static TrainingProgress start(String name, long totalSteps) {
    return new TrainingProgress(
        name, totalSteps, StandardError.isTerminal(), System.err, System::nanoTime);
  }

  /**
   * Counts one step.
   *
   * @param loss the loss of the step's batch
   * @param rate the learning rate the step was taken with
   */
  public void step(double loss, double rate) {
    done++;
    averageSum = AVERAGE_DECAY * averageSum + (1 - AVERAGE_DECAY) * loss;
    averageWeight = AVERAGE_DECAY * averageWeight + (1 - AVERAGE_DECAY);
    learningRate = rate;
    if (bar != null) {
      bar.setExtraMessage(", " + measures() + evaluated);
      bar.step();
    } else if (nanoTime.getAsLong() - printed >= LINE_EVERY.toNanos()) {
      printLine();
    }
  }

  @Override
  public void onStep(TrainingStep step) {
    if (step.step() != done + 1) {
      // Taken up again: what was done before tells nothing about the speed.
      doneBefore = step.step() - 1;
      done = doneBefore;
      if (bar != null) {
        bar.stepTo(done);
      }
    }
    step(step.loss(), step.learningRate());
  }

  @Override
  public void onEvaluation(Evaluation evaluation) {
    evaluated = String.format(Locale.ROOT, ", evaluation loss %.4f", evaluation.loss());
    if (bar != null) {
      bar.setExtraMessage(", " + measures() + evaluated);
      return;
    }
    StringBuilder line =
        new StringBuilder(name + ": step " + evaluation.step() + "/" + total + evaluated);
    evaluation
        .metrics()
        .forEach((key, value) -> line.append(String.format(Locale.ROOT, ", %s %.4f", key, value)));
    lines.println(line);
  }

  @Override
  public void onEnd(TrainingResult result) {
    close();
  }

  @Override
  public void onFailure(Throwable failure) {
    close();
  }

  /**
   * How many steps were counted.
   *
   * @return steps, from 0
   */
  public long steps() {
    return done;
  }

  /**
   * The loss as it is shown.
   *
   * @return the moving average; NaN before the first step, and from the first loss on that is NaN
   */
  public double averageLoss() {
    return averageSum / averageWeight;
  }

  /** Shows the last state and leaves the line. Closing again does nothing. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    if (bar != null) {
      bar.close();
    } else if (done > doneBefore && done > doneWhenPrinted) {
      printLine();
    }
  }

  private static ProgressBar bar(String name, long total) {
    return new ProgressBarBuilder()
        .setTaskName(name)
        .setInitialMax(total)
        .setUnit(" steps", 1)
        .showSpeed(new DecimalFormat("0.0", DecimalFormatSymbols.getInstance(Locale.ROOT)))
        .setStyle(
            Charset.defaultCharset().equals(StandardCharsets.UTF_8)
                ? ProgressBarStyle.UNICODE_BLOCK
                : ProgressBarStyle.ASCII)
        .setUpdateIntervalMillis(200)
        .build();
  }

  private String measures() {
    return String.format(Locale.ROOT, "loss %.4f, learning rate %.1e", averageLoss(), learningRate);
  }

  private void printLine() {
    long now = nanoTime.getAsLong();
    double seconds = Math.max(1, now - started) / 1e9;
    long left = Math.round(Math.max(0, total - done) * seconds / (done - doneBefore));
    lines.println(
        String.format(
            Locale.ROOT,
            "%s: %d/%d (%d%%), %s, %.1f steps/s, %d:%02d:%02d left",
            name,
            done,
            total,
            100 * done / total,
            measures(),
            (done - doneBefore) / seconds,
            left / 3600,
            left / 60 % 60,
            left % 60));
    printed = now;
    doneWhenPrinted = done;
  }
}
