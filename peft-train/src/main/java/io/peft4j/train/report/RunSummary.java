package io.peft4j.train.report;

import io.peft4j.train.Evaluation;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.TrainingStep;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Says in a few lines what a run came to when it has ended, for example
 *
 * <pre>{@code
 * 250 steps in 0:01:52, 2231 tokens/s
 * loss 2.3105 at first, 0.4312 at the end
 * evaluation loss 0.4120, best 0.4056 at step 200; accuracy 0.8680
 * peak memory 812 MiB
 * adapter: out/adapter
 * checkpoint: out/checkpoint-250
 * }</pre>
 *
 * <p>The loss at first and at the end is the mean of a twentieth of the steps. Peak memory is that
 * of the whole process, where the system tells it (Linux).
 */
public final class RunSummary implements TrainingListener {
  private final Consumer<String> lines;
  private final Map<String, Path> written = new LinkedHashMap<>();
  private @Nullable Path checkpoint;

  /**
   * Makes a summary.
   *
   * @param lines takes each line, for example {@code System.err::println}
   */
  public RunSummary(Consumer<String> lines) {
    this.lines = lines;
  }

  /**
   * Names something that the run writes.
   *
   * @param what what it is, in a word or two
   * @param where its file or directory
   * @return this
   */
  public RunSummary writes(String what, Path where) {
    written.put(what, where);
    return this;
  }

  @Override
  public void onStep(TrainingStep step) {}

  @Override
  public void onCheckpoint(long step, Path directory) {
    checkpoint = directory;
  }

  @Override
  public void onEnd(TrainingResult result) {
    lines(result, peakMemory()).forEach(lines);
  }

  List<String> lines(TrainingResult result, OptionalLong peakMemory) {
    List<String> all = new ArrayList<>();
    long seconds = Math.round(result.seconds());
    all.add(
        format(
            "%d steps in %d:%02d:%02d, %s",
            result.steps(),
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            result.tokens() > 0
                ? format("%.0f tokens/s", result.tokensPerSecond())
                : format("%.1f rows/s", result.samplesPerSecond())));
    if (result.steps() > 0) {
      int some = (result.steps() + 19) / 20;
      all.add(
          format(
              "loss %.4f at first, %.4f at the end",
              mean(result.losses().subList(0, some)),
              mean(result.losses().subList(result.steps() - some, result.steps()))));
    }
    if (!result.evaluations().isEmpty()) {
      all.add(evaluations(result.evaluations()));
    }
    peakMemory.ifPresent(bytes -> all.add("peak memory " + (bytes >> 20) + " MiB"));
    written.forEach((what, where) -> all.add(what + ": " + where));
    if (checkpoint != null) {
      all.add("checkpoint: " + checkpoint);
    }
    return all;
  }

  /** The best is the last that the run called so. */
  private static String evaluations(List<Evaluation> evaluations) {
    Evaluation last = evaluations.get(evaluations.size() - 1);
    Evaluation best = last;
    for (Evaluation one : evaluations) {
      if (one.best()) {
        best = one;
      }
    }
    StringBuilder line =
        new StringBuilder(
            format(
                "evaluation loss %.4f, best %.4f at step %d",
                last.loss(), best.loss(), best.step()));
    String separator = "; ";
    for (Map.Entry<String, Double> metric : last.metrics().entrySet()) {
      line.append(separator).append(format("%s %.4f", metric.getKey(), metric.getValue()));
      separator = ", ";
    }
    return line.toString();
  }

  private static double mean(List<Double> losses) {
    return losses.stream().mapToDouble(Double::doubleValue).average().orElse(Double.NaN);
  }

  private static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }

  private static OptionalLong peakMemory() {
    Path status = Path.of("/proc/self/status");
    if (!Files.isReadable(status)) {
      return OptionalLong.empty();
    }
    try {
      return Files.readAllLines(status).stream()
          .filter(line -> line.matches("VmHWM:\\s+\\d{1,15} kB"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
          .findFirst();
    } catch (IOException e) {
      return OptionalLong.empty();
    }
  }
}
