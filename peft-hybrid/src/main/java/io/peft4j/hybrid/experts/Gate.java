package io.peft4j.hybrid.experts;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.TrainableParameter;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.Pass;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A small trained router: softmax(W·e + b), where e is the mean of the base's embeddings of a row's
 * tokens, padding left out. It begins with W = 0 and b = 0, which gives all experts the same share.
 *
 * <pre>{@code
 * try (Gate gate = Gate.of(experts)) {
 *   Trainer.builder()
 *       .model(Trainable.of((in, mode) -> experts.forward(in, gate, mode), gate.parameters()))
 *       ...
 *   gate.save(directory);
 * }
 * }</pre>
 *
 * <p>A directory holds {@code gate_config.json}, an object of {@code format_version}, which is 1,
 * and {@code experts}, a list of names, and {@code gate.safetensors} with {@code weight} F32
 * [experts, hidden] and {@code bias} F32 [experts].
 *
 * <p>Whoever makes a gate closes it.
 */
public final class Gate implements Router, AutoCloseable {
  private static final String CONFIG = "gate_config.json";
  private static final String TENSORS = "gate.safetensors";
  private static final String WEIGHT = "weight";
  private static final String BIAS = "bias";
  private static final String MASK = "attention_mask";
  private static final String VERSION_KEY = "format_version";
  private static final String EXPERTS_KEY = "experts";

  private final NDManager owner = NDManager.newBaseManager("PyTorch");
  private final List<String> names;
  private final Backbone base;
  private final Embedding embedding;
  private final NDArray weight;
  private final NDArray bias;

  private Gate(Experts experts, LayerSpec tokens) {
    names = experts.names();
    base = experts.model().backbone();
    embedding = new Embedding(base.layout(), tokens.path());
    weight = zeros(new Shape(names.size(), tokens.outFeatures()));
    bias = zeros(new Shape(names.size()));
  }

  private NDArray zeros(Shape shape) {
    NDArray zeros = owner.zeros(shape, DataType.FLOAT32);
    NDScope.unregister(zeros);
    zeros.setRequiresGradient(true);
    return zeros;
  }

  /**
   * A new gate.
   *
   * @param experts what it is for
   * @return the gate; the caller closes it
   * @throws InvalidConfigException if the base embeds no tokens
   */
  public static Gate of(Experts experts) {
    LayerSpec tokens =
        experts.model().layout().layers().stream()
            .filter(layer -> layer.kind() == LayerKind.EMBEDDING)
            .findFirst()
            .orElseThrow(
                () ->
                    new InvalidConfigException(
                        "a gate looks at embedded tokens, and the base has no embedding"));
    return new Gate(experts, tokens);
  }

  /**
   * A saved gate.
   *
   * @param experts what it is for, of the names that it was saved with
   * @param directory where it lies
   * @return the gate; the caller closes it
   * @throws MalformedFileException if a file is missing or damaged
   * @throws AdapterStateException if the gate is for other experts or another base
   */
  public static Gate load(Experts experts, Path directory) {
    checkConfig(experts, directory.resolve(CONFIG));
    Gate gate = of(experts);
    try (SafeTensors saved = SafeTensors.open(directory.resolve(TENSORS));
        GradMode off = GradMode.off()) {
      if (!saved.names().equals(Set.of(WEIGHT, BIAS))) {
        throw new MalformedFileException(
            saved.file() + ": must hold " + WEIGHT + " and " + BIAS + ", holds " + saved.names());
      }
      fill(saved, WEIGHT, gate.weight);
      fill(saved, BIAS, gate.bias);
      return gate;
    } catch (RuntimeException e) {
      gate.close();
      throw e;
    }
  }

  private static void checkConfig(Experts experts, Path file) {
    ObjectNode config = Json.readObject(file);
    JsonNode version = config.path(VERSION_KEY);
    if (!version.isIntegralNumber() || version.longValue() != 1) {
      throw new MalformedFileException(file + ": " + VERSION_KEY + " must be 1, was " + version);
    }
    List<String> names = new ArrayList<>();
    config.path(EXPERTS_KEY).forEach(name -> names.add(name.asText()));
    if (!names.equals(experts.names())) {
      throw new AdapterStateException(
          file + ": the gate is for the experts " + names + "; given are " + experts.names());
    }
  }

  private static void fill(SafeTensors saved, String name, NDArray target) {
    if (!saved.info(name).shape().equals(target.getShape())) {
      throw new AdapterStateException(
          saved.file()
              + ": "
              + name
              + " has shape "
              + saved.info(name).shape()
              + " where "
              + target.getShape()
              + " is needed");
    }
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      target.set(saved.float32(manager, name).toFloatArray());
    }
  }

  /**
   * Saves the gate.
   *
   * @param directory where to, made if it is missing
   */
  public void save(Path directory) {
    AtomicFiles.createDirectories(directory);
    SafeTensorsWriter.write(
        directory.resolve(TENSORS),
        List.of(SafeTensorsWriter.Entry.of(WEIGHT, weight), SafeTensorsWriter.Entry.of(BIAS, bias)),
        Map.of("format", "pt"));
    ObjectNode config = JsonNodeFactory.instance.objectNode().put(VERSION_KEY, 1);
    names.forEach(config.putArray(EXPERTS_KEY)::add);
    AtomicFiles.writeString(directory.resolve(CONFIG), Json.toPythonString(config));
  }

  /**
   * The tensors that training changes.
   *
   * @return weight [experts, hidden] and bias [experts], of no adapter; they stay the gate's
   */
  public List<TrainableParameter> parameters() {
    return List.of(
        new TrainableParameter("", "gate." + WEIGHT, weight),
        new TrainableParameter("", "gate." + BIAS, bias));
  }

  int experts() {
    return names.size();
  }

  /**
   * The share of each expert in each row.
   *
   * @param inputs the network's inputs: tokens, and perhaps a mask, known by its name or as the
   *     second
   * @return float32 [batch, experts], positive, 1 in sum
   */
  NDArray shares(NDList inputs) {
    NDArray features;
    try (GradMode off = GradMode.off()) {
      features = features(inputs);
    }
    return Ops.linear(features, weight, bias).softmax(-1);
  }

  private NDArray features(NDList inputs) {
    NDArray ids = inputs.head().toType(DataType.INT64, false);
    NDArray embedded;
    try (WeightSnapshot weights = base.weights().lease();
        Pass pass = Pass.base(weights)) {
      embedded = embedding.forward(pass, ids);
    }
    NDArray mask = mask(inputs);
    if (mask == null) {
      return embedded.mean(new int[] {1});
    }
    NDArray counted = mask.toType(DataType.FLOAT32, false).expandDims(2);
    return embedded.mul(counted).sum(new int[] {1}).div(counted.sum(new int[] {1}).maximum(1));
  }

  private static @Nullable NDArray mask(NDList inputs) {
    boolean named = inputs.stream().anyMatch(array -> array.getName() != null);
    for (int i = 1; i < inputs.size(); i++) {
      if (named ? MASK.equals(inputs.get(i).getName()) : i == 1) {
        return inputs.get(i);
      }
    }
    return null;
  }

  @Override
  public float[][] weights(NDList inputs, List<String> experts) {
    if (!experts.equals(names)) {
      throw new InvalidConfigException(
          "the gate is for the experts " + names + "; given are " + experts);
    }
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      float[] all = shares(inputs).toFloatArray();
      float[][] weights = new float[all.length / names.size()][names.size()];
      for (int i = 0; i < all.length; i++) {
        weights[i / names.size()][i % names.size()] = all[i];
      }
      return weights;
    }
  }

  @Override
  public void close() {
    owner.close();
  }
}
