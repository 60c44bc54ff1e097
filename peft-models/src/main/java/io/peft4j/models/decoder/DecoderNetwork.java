package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.CausalContext;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.atomic.AtomicReference;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A decoder with or without a head. Positions count from 0 at the first token or padding of a row,
 * as in a plain forward pass of transformers.
 */
final class DecoderNetwork implements Network {
  private static final Logger LOG = LoggerFactory.getLogger(DecoderNetwork.class);

  private final DecoderConfig config;
  private final DecoderTask task;
  private final int[] windows;
  private final ModelLayout layout;
  private final String prefix;
  private final Embedding tokens;
  private final List<DecoderLayer> layers = new ArrayList<>();
  private final RmsNorm norm;
  private final DecoderHead head;
  private final AtomicReference<String> said = new AtomicReference<>("");

  DecoderNetwork(DecoderConfig config, DecoderTask task, int labels) {
    this.config = config;
    this.task = task;
    windows = config.windows().stream().distinct().mapToInt(Integer::intValue).toArray();
    Integer padding = config.padding();
    HeadConfig ending =
        new HeadConfig(
            task, config.tied(), config.finalSoftcap(), labels, padding == null ? -1 : padding, 0);
    prefix = task == DecoderTask.HIDDEN_STATES ? "" : DecoderFamily.PREFIX;
    layout = layout(config, prefix, ending);
    tokens = new Embedding(layout, prefix + "embed_tokens");
    LayerConfig layer = config.layer();
    for (int i = 0; i < config.sizes().layers(); i++) {
      int window = config.windows().get(i);
      layers.add(new DecoderLayer(layout, prefix + "layers." + i, i, window, layer));
    }
    norm = new RmsNorm(layout, prefix + "norm", layer.epsilon(), layer.options().shiftedNorms());
    head = new DecoderHead(layout, ending, config.sizes().vocabulary(), config.sizes().hidden());
  }

  private static ModelLayout layout(DecoderConfig config, String prefix, HeadConfig head) {
    ModelLayout.Builder layout = ModelLayout.builder(config.modelType());
    String embedding = prefix + "embed_tokens";
    int vocabulary = config.sizes().vocabulary();
    int hidden = config.sizes().hidden();
    layout.embedding(embedding, vocabulary, hidden);
    for (int i = 0; i < config.sizes().layers(); i++) {
      new LayerNames(prefix + "layers." + i, config.layer()).describe(layout);
    }
    layout.norm(prefix + "norm", hidden, false);
    DecoderHead.describe(layout, head, vocabulary, hidden, embedding);
    return layout.build();
  }

  @Override
  public ModelLayout layout() {
    return layout;
  }

  @Override
  public InputLimits limits() {
    int positions = config.positions();
    return new InputLimits(config.sizes().vocabulary(), 0, positions, positions);
  }

  @Override
  public Optional<CacheShape> cacheShape() {
    LayerConfig layer = config.layer();
    return task.classifies()
        ? Optional.empty()
        : Optional.of(new CacheShape(layers.size(), layer.keyValueHeads(), layer.headSize()));
  }

  @Override
  public TextLength textLength() {
    List<Rope.Scaling> scalings = config.ropes().stream().map(Rope::scaling).toList();
    return new TextLength(
        scalings.stream().anyMatch(Rope.Scaling::varies),
        scalings.stream().mapToInt(Rope.Scaling::switchesAfter).min().orElse(Integer.MAX_VALUE));
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    CausalContext context = new CausalContext(inputs, windows);
    List<NDList> rotations = rotations(context);
    boolean fusable = context.fusable(pass);
    NDArray x = embedded(pass, inputs);
    for (int i = 0; i < layers.size(); i++) {
      DecoderLayer layer = layers.get(i);
      NDList turns = rotations.get(i);
      FusedLayer.Prepared prepared = fusable ? layer.fused().prepare(pass) : null;
      x =
          prepared == null
              ? pass.layer(x, input -> layer.forward(pass, input, turns, context))
              : layer.fused().forward(prepared, x, turns, context);
    }
    context.end();
    NDArray states = norm.forward(pass, inputs.lastOnly() ? x.get(":, -1:") : x);
    return head.forward(pass, states, inputs);
  }

  private NDArray embedded(Pass pass, ModelInputs inputs) {
    NDArray rows = tokens.forward(pass, inputs.ids());
    return pass.noisy(Ops.scale(rows, config.embeddingScale()));
  }

  /** The tables of angles of each layer. */
  private List<NDList> rotations(CausalContext context) {
    Map<Rope, NDList> tables = new HashMap<>();
    return config.ropes().stream()
        .map(rope -> tables.computeIfAbsent(rope, r -> r.tables(context.positions())))
        .toList();
  }

  @Override
  public OptionalDouble accumulateGradients(
      Pass pass, ModelInputs inputs, NextTokens loss, double weight) {
    if (head.lossWeight(pass) == null || loss.targets(config.sizes().vocabulary()).isEmpty()) {
      return OptionalDouble.empty();
    }
    CausalContext context = new CausalContext(inputs, windows);
    DecoderStep step = new DecoderStep(pass, layers, rotations(context), context);
    NDArray x = embedded(pass, inputs);
    String obstacle = step.obstacle();
    if (obstacle == null) {
      return step.byHand(x, top -> head.accumulateGradients(pass, top, norm, loss, weight));
    }
    if (!obstacle.equals(said.getAndSet(obstacle))) {
      LOG.info("gradients are found by recording the forward pass: {}", obstacle);
    }
    OptionalDouble value = head.accumulateGradients(pass, step.recorded(x), norm, loss, weight);
    pass.backward();
    return value;
  }

  @Override
  public void describe(ModelGraph graph) {
    graph.module(prefix + "embed_tokens");
    GraphValue x = graph.embedding(prefix + "embed_tokens", graph.tokens());
    if (config.embeddingScale() != 1) {
      x = graph.scale(x, config.embeddingScale());
    }
    for (int i = 0; i < layers.size(); i++) {
      x = layers.get(i).describe(graph, x, config.ropes().get(i));
    }
    LayerConfig layer = config.layer();
    head.describe(
        graph, graph.rmsNorm(prefix + "norm", x, layer.epsilon(), layer.options().shiftedNorms()));
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    return head.outputShapes(batch, length);
  }
}
