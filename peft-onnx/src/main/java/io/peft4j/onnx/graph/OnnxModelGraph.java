package io.peft4j.onnx.graph;

import ai.djl.ndarray.types.Shape;
import io.peft4j.models.Network;
import io.peft4j.models.decoder.Rope;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.models.onnx.OnnxType;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.Activation;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Rotary;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;

/**
 * Makes an ONNX graph of what a model says it computes, of ONNX's own operators, and {@code
 * MatMulNBits} where weights have 4 bits.
 *
 * <p>Inputs and outputs have the names of transformers: {@code input_ids}, {@code attention_mask},
 * {@code token_type_ids} or {@code position_ids}, all int64 [batch, length]. A decoder that
 * generates takes {@code past_key_values.N.key} and {@code .value}, float32 [batch, heads, past,
 * size], perhaps of length 0, and gives {@code present.N.key} and {@code .value} with the new
 * tokens after the past ones; its mask covers both.
 */
public final class OnnxModelGraph implements ModelGraph {
  private static final List<String> TOKENS = List.of("batch_size", "sequence_length");

  // Stand for sizes that are not known, where shapes are asked for.
  private static final long BATCH = 1L << 40;
  private static final long LENGTH = 1L << 41;

  private final OnnxGraph graph = new OnnxGraph();
  private final Operations to = new Operations(graph);
  private final StoredWeights weights;
  private final Network network;
  private final Predicate<LayerSpec> adapted;
  private final Masks masks;
  private final Ropes ropes;
  private final Attentions attentions;
  private final Map<String, Long> features = new HashMap<>();

  /** Values that have one vector for each row, not one for each token. */
  private final Set<String> rows = new HashSet<>();

  private int outputs;

  /**
   * Makes the graph of a model.
   *
   * @param network the model
   * @param weights its weights
   * @param adapted the linear layers that can be adapted while the graph runs
   */
  public OnnxModelGraph(Network network, StoredWeights weights, Predicate<LayerSpec> adapted) {
    this.network = network;
    this.weights = weights;
    this.adapted = adapted;
    graph.input("input_ids", OnnxType.INT64, TOKENS);
    // Only what generates needs one.
    Optional<Network.CacheShape> cache =
        weights.layout().outputLayer().isPresent() ? network.cacheShape() : Optional.empty();
    graph.input(
        "attention_mask",
        OnnxType.INT64,
        cache.isPresent() ? List.of("batch_size", "total_sequence_length") : TOKENS);
    if (network.limits().tokenTypes() > 0) {
      graph.input("token_type_ids", OnnxType.INT64, TOKENS);
    }
    if (network.limits().positions() > 0) {
      graph.input("position_ids", OnnxType.INT64, TOKENS);
    }
    masks = new Masks(to);
    ropes = new Ropes(to);
    attentions = new Attentions(to, masks, cache);
    network.describe(this);
  }

  /**
   * Writes the graph.
   *
   * @param model the file; values of large models go to {@value OnnxFile#DATA} beside it
   * @param name the graph's name
   * @param version this library's version
   * @param mostInline most bytes of weights in the file itself
   */
  public void write(Path model, String name, String version, long mostInline) {
    OnnxFile.write(model, graph, name, version, mostInline);
  }

  private GraphValue row(String name) {
    rows.add(name);
    return value(name);
  }

  private static GraphValue value(String name) {
    return new GraphValue(name);
  }

  // --- inputs ---------------------------------------------------------------------------------

  @Override
  public void module(String path) {
    to.module(path);
  }

  @Override
  public GraphValue tokens() {
    return value("input_ids");
  }

  @Override
  public GraphValue tokenTypes() {
    return value("token_type_ids");
  }

  @Override
  public GraphValue positions() {
    return value("position_ids");
  }

  @Override
  public GraphValue order() {
    return value(to.node("Unsqueeze", masks.order(), to.integers(0)));
  }

  @Override
  public GraphValue orderAfter(int padding) {
    return value(masks.orderAfter(padding));
  }

  // --- layers ---------------------------------------------------------------------------------

  private LayerSpec layer(String path) {
    return weights.layout().layer(path).orElseThrow();
  }

  private String dense(String parameter) {
    return graph.initializer(weights.dense(parameter, parameter, false));
  }

  /** Matrices that are stored in 16 bits are widened. */
  private String widened(String parameter, String value) {
    return weights.type(parameter) == OnnxType.FLOAT ? value : to.cast(value, OnnxType.FLOAT);
  }

  @Override
  public GraphValue embedding(String path, GraphValue ids) {
    String parameter = weights.shared(layer(path).weightName());
    return to.in(
        path, () -> value(widened(parameter, to.node("Gather", dense(parameter), ids.name()))));
  }

  @Override
  public GraphValue linear(String path, GraphValue x) {
    LayerSpec layer = layer(path);
    GraphValue y = to.in(path, () -> value(linear(layer, x.name())));
    features.put(y.name(), layer.outFeatures());
    return rows.contains(x.name()) ? row(y.name()) : y;
  }

  private String linear(LayerSpec layer, String x) {
    String y = product(layer, x);
    if (layer.bias()) {
      y = to.node("Add", y, dense(layer.biasName()));
    }
    return adapted.test(layer) ? to.node("Add", y, lowRank(layer, x)) : y;
  }

  private String product(LayerSpec layer, String x) {
    String parameter = layer.weightName();
    if (weights.isInt4(layer)) {
      return quantized(layer, x);
    }
    String shared = weights.shared(parameter);
    if (!shared.equals(parameter)) {
      return tied(layer, shared, x);
    }
    if (layer.kind() == LayerKind.LINEAR_TRANSPOSED) {
      return to.node("MatMul", x, widened(parameter, dense(parameter)));
    }
    String turned = graph.initializer(weights.dense(parameter, parameter + ".transposed", true));
    return to.node("MatMul", x, widened(parameter, turned));
  }

  /** With the weight as the embedding has it, which is not stored twice. */
  private String tied(LayerSpec layer, String parameter, String x) {
    String rows = to.node("Reshape", x, to.integers(-1, layer.inFeatures()));
    String product =
        to.node(
            "Gemm", "", Map.of("transB", 1L), List.of(rows, widened(parameter, dense(parameter))));
    String before = to.node("Slice", to.node("Shape", x), to.integers(0), to.integers(-1));
    String shape = to.concat(0, before, to.integers(layer.outFeatures()));
    return to.node("Reshape", product, shape);
  }

  private String quantized(LayerSpec layer, String x) {
    String name = layer.weightName();
    String y =
        to.node(
            "MatMulNBits",
            OnnxGraph.MICROSOFT,
            Map.of(
                "K",
                layer.inFeatures(),
                "N",
                layer.outFeatures(),
                "bits",
                4L,
                "block_size",
                (long) Int4Blocks.BLOCK),
            List.of(
                x,
                graph.initializer(weights.packed(layer, name + ".int4")),
                graph.initializer(weights.scales(layer, name + ".scales"))));
    boolean row = rows.contains(x);
    graph.describe(
        y,
        OnnxType.FLOAT,
        row
            ? List.of(TOKENS.get(0), layer.outFeatures())
            : List.of(TOKENS.get(0), TOKENS.get(1), layer.outFeatures()));
    return y;
  }

  private String lowRank(LayerSpec layer, String x) {
    String a = AdapterInputs.a(layer.path());
    String b = AdapterInputs.b(layer.path());
    String rank = layer.path() + ".rank";
    graph.input(a, OnnxType.FLOAT, List.of(layer.inFeatures(), rank));
    graph.input(b, OnnxType.FLOAT, List.of(rank, layer.outFeatures()));
    graph.initializer(Initializer.of(a, new float[0], layer.inFeatures(), 0));
    graph.initializer(Initializer.of(b, new float[0], 0, layer.outFeatures()));
    return to.in(
        layer.path() + ".lora_B",
        () -> to.node("MatMul", to.in(layer.path() + ".lora_A", () -> to.node("MatMul", x, a)), b));
  }

  @Override
  public GraphValue layerNorm(String path, GraphValue x, double epsilon) {
    LayerSpec layer = layer(path);
    return to.in(
        path,
        () ->
            value(
                to.node(
                    "LayerNormalization",
                    "",
                    Map.of("axis", -1L, "epsilon", (float) epsilon),
                    List.of(x.name(), dense(layer.weightName()), dense(layer.biasName())))));
  }

  @Override
  public GraphValue rmsNorm(String path, GraphValue x, double epsilon, boolean shifted) {
    String parameter = layer(path).weightName();
    return to.in(
        path,
        () -> {
          String squares = to.node("Pow", x.name(), to.number(2));
          String mean =
              to.node("ReduceMean", "", Map.of("axes", new long[] {-1}), List.of(squares));
          String root = to.node("Sqrt", to.node("Add", mean, to.number(epsilon)));
          String weight = dense(parameter);
          return value(
              to.node(
                  "Mul",
                  to.node("Div", x.name(), root),
                  shifted ? to.node("Add", weight, to.number(1)) : weight));
        });
  }

  // --- arithmetic -----------------------------------------------------------------------------

  @Override
  public GraphValue add(GraphValue x, GraphValue y) {
    return value(to.node("Add", x.name(), y.name()));
  }

  @Override
  public GraphValue multiply(GraphValue x, GraphValue y) {
    return value(to.node("Mul", x.name(), y.name()));
  }

  @Override
  public GraphValue scale(GraphValue x, double factor) {
    return value(to.node("Mul", x.name(), to.number(factor)));
  }

  @Override
  public GraphValue tanh(GraphValue x) {
    String y = to.node("Tanh", x.name());
    return rows.contains(x.name()) ? row(y) : value(y);
  }

  @Override
  public GraphValue activate(Activation function, GraphValue x) {
    return value(to.activation(function, x.name()));
  }

  // --- shapes ---------------------------------------------------------------------------------

  @Override
  public GraphValue slice(GraphValue x, long begin, long end) {
    GraphValue part = value(to.slice(x.name(), -1, begin, end));
    features.put(part.name(), end - begin);
    return part;
  }

  @Override
  public GraphValue feature(GraphValue x, long index) {
    return value(to.gather(x.name(), 2, index));
  }

  @Override
  public GraphValue split(GraphValue x, long size) {
    return value(to.node("Reshape", x.name(), to.integers(0, 0, -1, size)));
  }

  @Override
  public GraphValue join(GraphValue x, long size) {
    GraphValue joined = value(to.node("Reshape", x.name(), to.integers(0, 0, size)));
    features.put(joined.name(), size);
    return joined;
  }

  // --- tokens of a row ------------------------------------------------------------------------

  @Override
  public GraphValue first(GraphValue x) {
    return row(to.gather(x.name(), 1, 0));
  }

  @Override
  public GraphValue last(GraphValue x, int padding) {
    if (padding < 0) {
      return row(to.gather(x.name(), 1, -1));
    }
    return row(masks.last(x.name(), padding));
  }

  @Override
  public GraphValue mean(GraphValue x) {
    return row(masks.mean(x.name()));
  }

  // --- attention ------------------------------------------------------------------------------

  @Override
  public GraphValue rotate(GraphValue x, Rope rope, Rotary rotary) {
    GraphValue turned = value(ropes.rotate(x.name(), rope, rotary));
    features.put(turned.name(), size(x));
    return turned;
  }

  private long size(GraphValue x) {
    return Objects.requireNonNull(features.get(x.name()), x.name());
  }

  @Override
  public GraphValue attend(
      Attention attention, GraphValue query, GraphValue key, GraphValue value) {
    return value(attentions.open(attention, query.name(), size(query), key.name(), value.name()));
  }

  @Override
  public GraphValue attendCausally(
      int layer,
      Attention attention,
      GraphValue query,
      GraphValue key,
      GraphValue value,
      int window) {
    return value(
        attentions.causal(
            layer, attention, query.name(), size(query), key.name(), value.name(), window));
  }

  // --- outputs --------------------------------------------------------------------------------

  @Override
  public void output(String name, GraphValue x) {
    graph.rename(x.name(), name);
    Shape shape = network.outputShapes(BATCH, LENGTH)[outputs++];
    graph.output(
        name, OnnxType.FLOAT, Arrays.stream(shape.getShape()).mapToObj(this::size).toList());
  }

  private Object size(long size) {
    return size == BATCH ? TOKENS.get(0) : size == LENGTH ? TOKENS.get(1) : size;
  }
}
