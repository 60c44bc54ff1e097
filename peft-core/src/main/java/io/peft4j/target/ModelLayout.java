package io.peft4j.target;

import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The names and shapes of a model, without its weights: enough to match targets, count parameters
 * and plan memory. Immutable.
 */
public final class ModelLayout {
  private final String modelType;
  private final List<LayerSpec> layers;
  private final Map<String, LayerSpec> byPath;
  private final Map<String, Shape> parameters;
  private final List<String> parameterNames;
  private final Map<String, Integer> parameterIndex;
  private final Map<String, String> tied;
  private final Set<String> modules;
  private final @Nullable String outputLayer;
  private final Set<String> heads;
  private final List<JoinSpec> joins;

  private ModelLayout(Builder builder) {
    modelType = builder.modelType;
    layers = List.copyOf(builder.layers);
    parameters = Collections.unmodifiableMap(new LinkedHashMap<>(builder.parameters));
    tied = Collections.unmodifiableMap(new LinkedHashMap<>(builder.tied));
    outputLayer = builder.outputLayer;
    heads = Collections.unmodifiableSet(new LinkedHashSet<>(builder.heads));
    joins = List.copyOf(builder.joins);
    byPath = new LinkedHashMap<>();
    for (LayerSpec layer : layers) {
      byPath.put(layer.path(), layer);
    }
    List<String> names = new ArrayList<>(parameters.keySet());
    tied.forEach(
        (alias, name) -> {
          if (!parameters.containsKey(name)) {
            throw new InvalidConfigException(alias + " is tied to " + name + ", which is missing");
          }
          names.add(alias);
        });
    parameterNames = List.copyOf(names);
    parameterIndex = new LinkedHashMap<>();
    modules = new LinkedHashSet<>();
    for (String name : parameterNames) {
      parameterIndex.put(name, parameterIndex.size());
      addModules(name);
    }
  }

  private void addModules(String parameter) {
    for (int dot = parameter.indexOf('.'); dot >= 0; dot = parameter.indexOf('.', dot + 1)) {
      modules.add(parameter.substring(0, dot));
    }
  }

  /**
   * Starts a layout.
   *
   * @param modelType Hugging Face's {@code model_type}, for example {@code bert}; {@code djl} for
   *     stock networks
   * @return an empty builder
   */
  public static Builder builder(String modelType) {
    return new Builder(modelType);
  }

  /**
   * Hugging Face's {@code model_type}, which selects default targets.
   *
   * @return for example {@code llama}
   */
  public String modelType() {
    return modelType;
  }

  /**
   * The layers, in the order in which the model defines them.
   *
   * @return the layers; {@link LayerSpec#slot()} is the position
   */
  public List<LayerSpec> layers() {
    return layers;
  }

  /**
   * The layer at a path.
   *
   * @param path dotted path
   * @return the layer, if there is one
   */
  public Optional<LayerSpec> layer(String path) {
    return Optional.ofNullable(byPath.get(path));
  }

  /**
   * Names and shapes of the parameters, tied ones once.
   *
   * @return the parameters in definition order
   */
  public Map<String, Shape> parameters() {
    return parameters;
  }

  /**
   * Names of the parameters, tied names last; the position is the parameter's index. A tied name
   * has an index of its own, so that adapting one of the two can leave the other as it is.
   *
   * @return the names
   */
  public List<String> parameterNames() {
    return parameterNames;
  }

  /**
   * The index of a parameter.
   *
   * @param name parameter name, perhaps a tied one
   * @return the index, or -1 if the model has none of that name
   */
  public int parameterIndex(String name) {
    return parameterIndex.getOrDefault(name, -1);
  }

  /**
   * Names that share another parameter's memory: tied name to the name in {@link #parameters()}.
   *
   * @return the tied names
   */
  public Map<String, String> tied() {
    return tied;
  }

  /**
   * The paths of all modules that have parameters in or below them.
   *
   * @return the paths, parents before children
   */
  public Set<String> modules() {
    return modules;
  }

  /**
   * The layer that gives the logits of a language model, which {@code all-linear} leaves out.
   *
   * @return its path, for example {@code lm_head}
   */
  public Optional<String> outputLayer() {
    return Optional.ofNullable(outputLayer);
  }

  /**
   * The modules of a task's head ({@code classifier}, {@code score}), which {@code all-linear}
   * leaves out.
   *
   * @return their paths
   */
  public Set<String> heads() {
    return heads;
  }

  /**
   * The places where sub-layers meet the residual, where bottleneck adapters act.
   *
   * @return the joins, in the order in which the model computes them; none for stock networks
   */
  public List<JoinSpec> joins() {
    return joins;
  }

  /**
   * Counts all values of all parameters, tied ones once.
   *
   * @return the number of values
   */
  public long parameterCount() {
    return parameters.values().stream().mapToLong(Shape::size).sum();
  }

  /** Collects a {@link ModelLayout}. */
  public static final class Builder {
    private final String modelType;
    private final List<LayerSpec> layers = new ArrayList<>();
    private final Map<String, Shape> parameters = new LinkedHashMap<>();
    private final Map<String, String> tied = new LinkedHashMap<>();
    private final Set<String> heads = new LinkedHashSet<>();
    private final List<JoinSpec> joins = new ArrayList<>();
    private @Nullable String outputLayer;

    private Builder(String modelType) {
      this.modelType = modelType;
    }

    /**
     * Adds a linear layer with parameters {@code path.weight} [out, in] and perhaps {@code
     * path.bias} [out].
     *
     * @param path dotted path
     * @param in input features
     * @param out output features
     * @param bias whether it has a bias
     * @return the layer
     */
    public LayerSpec linear(String path, long in, long out, boolean bias) {
      return layer(path, LayerKind.LINEAR, new Shape(out, in), bias);
    }

    /**
     * Adds an embedding with parameter {@code path.weight} [count, dimension].
     *
     * @param path dotted path
     * @param count number of rows
     * @param dimension size of a row
     * @return the layer
     */
    public LayerSpec embedding(String path, long count, long dimension) {
      return layer(path, LayerKind.EMBEDDING, new Shape(count, dimension), false);
    }

    /**
     * Adds a norm with parameters {@code path.weight} [size] and perhaps {@code path.bias} [size].
     *
     * @param path dotted path
     * @param size normalised features
     * @param bias whether it has a bias
     * @return the layer
     */
    public LayerSpec norm(String path, long size, boolean bias) {
      return layer(path, LayerKind.OTHER, new Shape(size), bias);
    }

    /**
     * Adds a layer of any kind with parameters {@code path.weight} and perhaps {@code path.bias}.
     *
     * @param path dotted path
     * @param kind what it computes
     * @param weight shape of the weight
     * @param bias whether it has a bias
     * @return the layer
     */
    public LayerSpec layer(String path, LayerKind kind, Shape weight, boolean bias) {
      LayerSpec layer = new LayerSpec(layers.size(), path, kind, weight, bias);
      parameter(layer.weightName(), weight);
      if (bias) {
        parameter(
            layer.biasName(),
            new Shape(kind == LayerKind.OTHER ? weight.get(0) : layer.outFeatures()));
      }
      layers.add(layer);
      return layer;
    }

    /**
     * Adds a linear layer that has no weight of its own but uses another parameter.
     *
     * @param path dotted path
     * @param in input features
     * @param out output features
     * @param parameter the parameter it shares, [out, in]
     * @return the layer
     */
    public LayerSpec tiedLinear(String path, long in, long out, String parameter) {
      LayerSpec layer =
          new LayerSpec(layers.size(), path, LayerKind.LINEAR, new Shape(out, in), false);
      tied.put(layer.weightName(), parameter);
      layers.add(layer);
      return layer;
    }

    /**
     * Adds a parameter that belongs to no layer.
     *
     * @param name dotted name
     * @param shape its shape
     * @return this
     */
    public Builder parameter(String name, Shape shape) {
      if (parameters.put(name, shape) != null) {
        throw new InvalidConfigException("two parameters are named " + name);
      }
      return this;
    }

    /**
     * Names the layer that gives a language model's logits.
     *
     * @param path its path
     * @return this
     */
    public Builder outputLayer(String path) {
      outputLayer = path;
      return this;
    }

    /**
     * Adds the place where a sub-layer meets the residual. Each kind is added once a layer, in the
     * order of the layers.
     *
     * @param path the path of the model's {@code Join}
     * @param hidden size of the values that meet
     * @param kind which sub-layer ends there
     * @param normalised whether the model normalises the sum
     * @return this
     */
    public Builder join(String path, long hidden, JoinKind kind, boolean normalised) {
      long before = joins.stream().filter(join -> join.kind() == kind).count();
      joins.add(new JoinSpec(path, hidden, kind, normalised, (int) before));
      return this;
    }

    /**
     * Names a module of the task's head.
     *
     * @param path its path
     * @return this
     */
    public Builder head(String path) {
      heads.add(path);
      return this;
    }

    /**
     * Finishes the layout.
     *
     * @return the layout
     */
    public ModelLayout build() {
      return new ModelLayout(this);
    }
  }
}
