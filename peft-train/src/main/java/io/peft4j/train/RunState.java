package io.peft4j.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * How far a run is: what changes with each step, beside parameters and optimizer, and is kept in a
 * checkpoint as JSON. {@code epoch} and {@code batches_taken} say which batch comes next; the
 * random numbers need no state, as each step begins them anew from {@code seed} and its number.
 */
final class RunState {
  final List<Double> losses = new ArrayList<>();
  final List<Double> norms = new ArrayList<>();
  final List<Evaluation> evaluations = new ArrayList<>();
  long samples;
  long tokens;
  double seconds;

  /** The epoch and place in it of the next batch. */
  int epoch;

  int taken;

  /** The value of the best evaluation and its step; none yet if null. */
  @Nullable Double best;

  long bestStep;

  /** Evaluations in a row that were not better. */
  int withoutImprovement;

  /** Whether the run has ended, be it before its last step. */
  boolean finished;

  long step() {
    return losses.size();
  }

  void write(Path file, Map<String, String> settings) {
    ObjectNode tree = JsonNodeFactory.instance.objectNode();
    tree.put("global_step", step());
    tree.put("epoch", epoch);
    tree.put("batches_taken", taken);
    tree.put("samples", samples);
    tree.put("tokens", tokens);
    tree.put("seconds", seconds);
    if (best != null) {
      tree.put("best_metric", best);
      tree.put("best_global_step", bestStep);
    }
    tree.put("evaluations_without_improvement", withoutImprovement);
    tree.put("finished", finished);
    losses.forEach(tree.putArray("losses")::add);
    norms.forEach(tree.putArray("gradient_norms")::add);
    ArrayNode all = tree.putArray("evaluations");
    evaluations.forEach(evaluation -> all.add(toJson(evaluation)));
    settings.forEach(tree.putObject("settings")::put);
    AtomicFiles.writeString(file, tree.toPrettyString() + "\n");
  }

  private static ObjectNode toJson(Evaluation evaluation) {
    ObjectNode tree = JsonNodeFactory.instance.objectNode();
    tree.put("global_step", evaluation.step());
    tree.put("epoch", evaluation.epoch());
    put(tree, "loss", evaluation.loss());
    tree.put("items", evaluation.items());
    tree.put("seconds", evaluation.seconds());
    tree.put("best", evaluation.best());
    ObjectNode metrics = tree.putObject("metrics");
    evaluation.metrics().forEach((name, value) -> put(metrics, name, value));
    return tree;
  }

  /** JSON has no numbers that are not finite: they are their names. */
  private static void put(ObjectNode tree, String name, double value) {
    if (Double.isFinite(value)) {
      tree.put(name, value);
    } else {
      tree.put(name, Double.toString(value));
    }
  }

  /** The settings that a checkpoint's run was made with. */
  static Map<String, String> settings(Path file) {
    Map<String, String> settings = new LinkedHashMap<>();
    Reader reader = new Reader(file, Json.readObject(file));
    for (Map.Entry<String, JsonNode> entry : reader.tree.path("settings").properties()) {
      settings.put(entry.getKey(), entry.getValue().asText());
    }
    return settings;
  }

  static RunState read(Path file) {
    Reader reader = new Reader(file, Json.readObject(file));
    RunState state = new RunState();
    state.losses.addAll(reader.numbers("losses"));
    state.norms.addAll(reader.numbers("gradient_norms"));
    if (state.losses.isEmpty()
        || state.losses.size() != state.norms.size()
        || reader.count("global_step") != state.losses.size()) {
      throw new MalformedFileException(
          file
              + ": global_step must be above 0 and the number of losses and gradient_norms; it is "
              + reader.count("global_step")
              + ", and there are "
              + state.losses.size()
              + " and "
              + state.norms.size());
    }
    state.epoch = (int) Math.min(Integer.MAX_VALUE, reader.count("epoch"));
    state.taken = (int) Math.min(Integer.MAX_VALUE, reader.count("batches_taken"));
    state.samples = reader.count("samples");
    state.tokens = reader.count("tokens");
    state.seconds = reader.number("seconds");
    state.withoutImprovement =
        (int) Math.min(Integer.MAX_VALUE, reader.count("evaluations_without_improvement"));
    state.finished = reader.flag("finished");
    if (reader.tree.has("best_metric")) {
      state.best = reader.number("best_metric");
      state.bestStep = reader.count("best_global_step");
    }
    for (JsonNode evaluation : reader.tree.path("evaluations")) {
      state.evaluations.add(new Reader(file, evaluation).evaluation());
    }
    return state;
  }

  /** Values that are of the kind they must be. */
  private record Reader(Path file, JsonNode tree) {

    long count(String name) {
      JsonNode value = tree.path(name);
      if (!value.canConvertToLong() || !value.isIntegralNumber() || value.longValue() < 0) {
        throw wrong(name, "an integer from 0", value);
      }
      return value.longValue();
    }

    boolean flag(String name) {
      if (!tree.path(name).isBoolean()) {
        throw wrong(name, "true or false", tree.path(name));
      }
      return tree.path(name).booleanValue();
    }

    double number(String name) {
      return number(name, tree.path(name));
    }

    private double number(String name, JsonNode value) {
      if (value.isNumber()) {
        return value.doubleValue();
      }
      return switch (value.asText()) {
        case "NaN" -> Double.NaN;
        case "Infinity" -> Double.POSITIVE_INFINITY;
        case "-Infinity" -> Double.NEGATIVE_INFINITY;
        default -> throw wrong(name, "a number", value);
      };
    }

    List<Double> numbers(String name) {
      List<Double> all = new ArrayList<>();
      tree.path(name).forEach(value -> all.add(number(name, value)));
      return all;
    }

    Evaluation evaluation() {
      Map<String, Double> metrics = new LinkedHashMap<>();
      for (Map.Entry<String, JsonNode> entry : tree.path("metrics").properties()) {
        metrics.put(entry.getKey(), number(entry.getKey(), entry.getValue()));
      }
      return new Evaluation(
          count("global_step"),
          (int) Math.min(Integer.MAX_VALUE, count("epoch")),
          number("loss"),
          count("items"),
          metrics,
          number("seconds"),
          flag("best"));
    }

    private MalformedFileException wrong(String name, String allowed, JsonNode value) {
      return new MalformedFileException(
          file + ": '" + name + "' must be " + allowed + ", is " + value);
    }
  }
}
