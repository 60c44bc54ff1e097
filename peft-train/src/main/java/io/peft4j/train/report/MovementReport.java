package io.peft4j.train.report;

import io.peft4j.LayerDelta;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.spi.Adapter;
import io.peft4j.state.PeftDirectory;
import io.peft4j.train.TrainingControl;
import io.peft4j.train.TrainingListener;
import io.peft4j.train.TrainingResult;
import io.peft4j.train.TrainingStep;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Says at the end of a run how far each trained adapter has moved, at each of its layers and
 * altogether, for example
 *
 * <pre>{@code
 * style: moved 0.8121, changes weights by 0.4402 (0.31%), most at model.layers.3.mlp.up_proj
 * }</pre>
 *
 * <p>What an adapter began with is kept in Java's memory meanwhile, as much as its tensors take. A
 * run that is taken up again counts from where it went on.
 */
public final class MovementReport implements TrainingListener {
  private final PeftModel model;
  private final Consumer<String> lines;
  private final Map<String, float[]> before = new HashMap<>();
  private List<LayerMovement> movements = List.of();

  /**
   * Makes a report.
   *
   * @param model the model that is trained; it stays the caller's
   * @param lines takes a line for each adapter, for example {@code System.err::println}
   */
  public MovementReport(PeftModel model, Consumer<String> lines) {
    this.model = model;
    this.lines = lines;
  }

  /**
   * What was found at the end of the run.
   *
   * @return the layers of each trained adapter in model order; empty before
   */
  public List<LayerMovement> movements() {
    return movements;
  }

  @Override
  public void onBegin(TrainingControl control) {
    before.clear();
    for (TrainableParameter parameter : model.trainableParameters()) {
      before.put(key(parameter), parameter.array().toFloatArray());
    }
  }

  @Override
  public void onStep(TrainingStep step) {}

  @Override
  public void onEnd(TrainingResult result) {
    List<LayerMovement> all = new ArrayList<>();
    for (String name : model.trainedAdapters()) {
      List<LayerMovement> layers = measure(name);
      all.addAll(layers);
      lines.accept(line(name, layers));
    }
    movements = List.copyOf(all);
    before.clear();
  }

  @Override
  public void onFailure(Throwable failure) {
    before.clear();
  }

  private static String key(TrainableParameter parameter) {
    return parameter.adapter() + "/" + parameter.name();
  }

  private List<LayerMovement> measure(String name) {
    List<String> paths =
        model.layerReport(name).stream().map(Adapter.AdaptedLayer::path).distinct().toList();
    Map<String, Double> squares = new LinkedHashMap<>();
    paths.forEach(path -> squares.put(path, 0.0));
    for (TrainableParameter parameter : model.trainableParameters()) {
      float[] began = before.get(key(parameter));
      if (parameter.adapter().equals(name) && began != null) {
        float[] now = parameter.array().toFloatArray();
        double sum = 0;
        for (int i = 0; i < now.length; i++) {
          sum += ((double) now[i] - began[i]) * ((double) now[i] - began[i]);
        }
        squares.merge(place(parameter.name(), paths), sum, Double::sum);
      }
    }
    Map<String, LayerDelta> deltas = new HashMap<>();
    model.layerDeltas(name).forEach(delta -> deltas.put(delta.path(), delta));
    List<LayerMovement> layers = new ArrayList<>();
    squares.forEach(
        (path, square) -> {
          LayerDelta delta =
              deltas.getOrDefault(path, new LayerDelta(path, Double.NaN, Double.NaN));
          layers.add(
              new LayerMovement(name, path, Math.sqrt(square), delta.norm(), delta.relative()));
        });
    return layers;
  }

  /** The longest path that a state key belongs to, or the key itself. */
  private static String place(String key, List<String> paths) {
    String bare =
        key.startsWith(PeftDirectory.PREFIX) ? key.substring(PeftDirectory.PREFIX.length()) : key;
    return paths.stream()
        .filter(path -> bare.startsWith(path + "."))
        .max(Comparator.comparingInt(String::length))
        .orElse(bare);
  }

  private static String line(String name, List<LayerMovement> layers) {
    double distance = 0;
    double delta = 0;
    double base = 0;
    LayerMovement most = null;
    for (LayerMovement layer : layers) {
      distance += layer.distance() * layer.distance();
      if (layer.delta() > 0 && layer.relative() > 0) {
        delta += layer.delta() * layer.delta();
        base += Math.pow(layer.delta() / layer.relative(), 2);
      }
      most = most == null || layer.distance() > most.distance() ? layer : most;
    }
    StringBuilder line = new StringBuilder();
    line.append(String.format(Locale.ROOT, "%s: moved %.4f", name, Math.sqrt(distance)));
    if (base > 0) {
      line.append(
          String.format(
              Locale.ROOT,
              ", changes weights by %.4f (%.2f%%)",
              Math.sqrt(delta),
              100 * Math.sqrt(delta / base)));
    }
    return most == null
        ? line.toString()
        : line.append(", most at ").append(most.path()).toString();
  }
}
