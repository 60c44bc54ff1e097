package io.peft4j.train.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import io.peft4j.train.Evaluation;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.TrainingStep;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/**
 * Writes what happens in a run to a file of JSON lines, one object a line, UTF-8, named as in the
 * {@code log_history} of transformers:
 *
 * <ul>
 *   <li>every so many steps {@code step}, {@code epoch}, {@code loss} (the mean since the line
 *       before, or since the run was taken up again), {@code grad_norm}, {@code learning_rate}, and
 *       {@code tokens_per_second} where tokens are counted; {@code grad_norm/<adapter>} where
 *       several are trained;
 *   <li>at an evaluation {@code step}, {@code epoch}, {@code eval_loss}, {@code eval_perplexity},
 *       {@code eval_<metric>} and {@code eval_runtime} in seconds;
 *   <li>at a checkpoint {@code step} and {@code checkpoint}, the name of its directory;
 *   <li>at the end {@code step}, {@code train_loss} (the mean of all steps), {@code train_runtime},
 *       {@code train_samples_per_second} and {@code train_steps_per_second}.
 * </ul>
 *
 * <p>{@code epoch} is the whole number of epochs done before the step's. A value that is not finite
 * is {@code null}. A run that begins or goes on at step n first cuts the lines of steps from n on
 * off the file, and a last line that was not finished: a file never tells of a step twice.
 *
 * <p>Each line is with the operating system when the listener returns, and nothing stays open in
 * between. Not for use by several threads.
 */
public final class MetricsFile implements TrainingListener {
  /** Lines that this class writes are far shorter. */
  private static final int MAXIMUM_LINE = 100_000;

  private final Path file;
  private final LoggedSteps logged;
  private boolean begun;

  /**
   * Names the file; nothing is read or written yet.
   *
   * @param file the file; its directory is made where it is missing
   * @param loggingSteps how many steps there are to a line, from 1
   * @throws InvalidConfigException if that is below 1
   */
  public MetricsFile(Path file, int loggingSteps) {
    this.file = file.toAbsolutePath();
    this.logged = new LoggedSteps(loggingSteps);
  }

  @Override
  public void onStep(TrainingStep step) {
    begin(step.step());
    if (logged.add(step)) {
      ObjectNode line = line(step.step());
      line.put("epoch", step.epoch());
      put(line, "", logged.values(step));
      if (step.adapterNorms().size() > 1) {
        put(line, "grad_norm/", step.adapterNorms());
      }
      append(line);
    }
  }

  @Override
  public void onEvaluation(Evaluation evaluation) {
    begin(evaluation.step() + 1);
    ObjectNode line = line(evaluation.step());
    line.put("epoch", evaluation.epoch());
    put(line, "eval_", evaluation.values());
    line.put("eval_runtime", evaluation.seconds());
    append(line);
  }

  @Override
  public void onCheckpoint(long step, Path directory) {
    begin(step + 1);
    append(line(step).put("checkpoint", String.valueOf(directory.getFileName())));
  }

  @Override
  public void onEnd(TrainingResult result) {
    begin(result.steps() + 1L);
    double mean = result.losses().stream().mapToDouble(Double::doubleValue).average().orElse(0);
    ObjectNode line = line(result.steps());
    put(line, "train_", Map.of("loss", mean));
    put(line, "train_", Map.of("runtime", result.seconds()));
    put(line, "train_", Map.of("samples_per_second", result.samplesPerSecond()));
    put(line, "train_", Map.of("steps_per_second", result.steps() / result.seconds()));
    append(line);
  }

  private static ObjectNode line(long step) {
    return JsonNodeFactory.instance.objectNode().put("step", step);
  }

  private static void put(ObjectNode line, String prefix, Map<String, Double> values) {
    values.forEach(
        (name, value) -> {
          if (Double.isFinite(value)) {
            line.put(prefix + name, value);
          } else {
            line.putNull(prefix + name);
          }
        });
  }

  private void append(ObjectNode line) {
    ByteBuffer bytes = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8));
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be written: " + e, e);
    }
  }

  /** Cuts what a run that is to tell of this step and those after it would tell again. */
  private void begin(long step) {
    if (begun) {
      return;
    }
    begun = true;
    Path directory = file.getParent();
    if (directory != null) {
      AtomicFiles.createDirectories(directory);
    }
    if (!Files.exists(file)) {
      return;
    }
    try (BufferedReader old = Files.newBufferedReader(file)) {
      AtomicFiles.write(file, kept -> copyBefore(step, old, kept));
    } catch (IOException e) {
      throw new PeftException(file + ": cannot be read: " + e, e);
    }
  }

  private void copyBefore(long step, BufferedReader old, FileChannel kept) throws IOException {
    StringBuilder line = new StringBuilder();
    long number = 0;
    // Without its end a line was not finished, and is not kept.
    for (int next = old.read(); next >= 0; next = old.read()) {
      line.append((char) next);
      if (line.length() > MAXIMUM_LINE) {
        throw malformed(number + 1);
      }
      if (next == '\n') {
        number++;
        JsonNode told = Json.parse(line.toString(), file + ": line " + number).path("step");
        if (!told.isIntegralNumber() || !told.canConvertToLong()) {
          throw malformed(number);
        }
        if (told.asLong() < step) {
          ByteBuffer bytes = ByteBuffer.wrap(line.toString().getBytes(StandardCharsets.UTF_8));
          while (bytes.hasRemaining()) {
            kept.write(bytes);
          }
        }
        line.setLength(0);
      }
    }
  }

  private MalformedFileException malformed(long number) {
    return new MalformedFileException(
        file
            + ": line "
            + number
            + " is none of a run's metrics, which are objects with a whole number 'step'; choose"
            + " another file");
  }
}
