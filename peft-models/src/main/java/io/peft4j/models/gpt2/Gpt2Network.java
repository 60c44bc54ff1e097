package io.peft4j.models.gpt2;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.CausalContext;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.models.decoder.DecoderHead;
import io.peft4j.models.decoder.DecoderTask;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.LayerNorm;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * GPT-2 with or without a head. Positions are learned; they count from 0 at the first token or
 * padding of a row unless others are given.
 */
final class Gpt2Network implements Network {
  private final Gpt2Config config;
  private final ModelLayout layout;
  private final String prefix;
  private final Embedding tokens;
  private final Embedding places;
  private final List<Gpt2Layer> layers = new ArrayList<>();
  private final LayerNorm norm;
  private final DecoderHead head;

  Gpt2Network(Gpt2Config config) {
    this.config = config;
    prefix = config.head().task() == DecoderTask.HIDDEN_STATES ? "" : Gpt2Family.PREFIX;
    layout = layout(config, prefix);
    tokens = new Embedding(layout, prefix + "wte");
    places = new Embedding(layout, prefix + "wpe");
    for (int i = 0; i < config.layers(); i++) {
      layers.add(new Gpt2Layer(layout, prefix + "h." + i, i, config));
    }
    norm = new LayerNorm(layout, prefix + "ln_f", config.epsilon());
    head = new DecoderHead(layout, config.head(), config.vocabulary(), config.hidden());
  }

  private static ModelLayout layout(Gpt2Config config, String prefix) {
    ModelLayout.Builder layout = ModelLayout.builder("gpt2");
    layout.embedding(prefix + "wte", config.vocabulary(), config.hidden());
    layout.embedding(prefix + "wpe", config.positions(), config.hidden());
    for (int i = 0; i < config.layers(); i++) {
      Gpt2Layer.describe(layout, prefix + "h." + i, config);
    }
    layout.norm(prefix + "ln_f", config.hidden(), true);
    DecoderHead.describe(
        layout, config.head(), config.vocabulary(), config.hidden(), prefix + "wte");
    return layout.build();
  }

  @Override
  public ModelLayout layout() {
    return layout;
  }

  @Override
  public InputLimits limits() {
    return new InputLimits(config.vocabulary(), 0, config.positions(), config.positions());
  }

  @Override
  public Optional<CacheShape> cacheShape() {
    return config.head().task().classifies()
        ? Optional.empty()
        : Optional.of(
            new CacheShape(config.layers(), config.heads(), config.hidden() / config.heads()));
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    CausalContext context = new CausalContext(inputs, 0);
    NDArray x = states(pass, inputs, context);
    context.end();
    return head.forward(pass, norm.forward(pass, inputs.lastOnly() ? x.get(":, -1:") : x), inputs);
  }

  /** What the last layer gives. */
  private NDArray states(Pass pass, ModelInputs inputs, CausalContext context) {
    NDArray embedded =
        pass.noisy(tokens.forward(pass, inputs.ids()))
            .add(places.forward(pass, positions(inputs, context)));
    NDArray x = Ops.dropout(embedded, config.embeddingDropout(), pass.dropout());
    for (Gpt2Layer layer : layers) {
      x = pass.layer(x, input -> layer.forward(pass, input, context));
    }
    return x;
  }

  @Override
  public OptionalDouble accumulateGradients(
      Pass pass, ModelInputs inputs, NextTokens loss, double weight) {
    if (head.lossWeight(pass) == null || loss.targets(config.vocabulary()).isEmpty()) {
      return OptionalDouble.empty();
    }
    NDArray x = states(pass, inputs, new CausalContext(inputs, 0));
    OptionalDouble value = head.accumulateGradients(pass, x, norm, loss, weight);
    pass.backward();
    return value;
  }

  /** For every row, since adapters may differ between them. */
  private static NDArray positions(ModelInputs inputs, CausalContext context) {
    NDArray positions = context.positions();
    return positions.getShape().get(0) == inputs.batch()
        ? positions
        : positions.broadcast(inputs.batch(), inputs.length());
  }

  @Override
  public void describe(ModelGraph graph) {
    GraphValue x = graph.embedding(prefix + "wte", graph.tokens());
    graph.module(prefix + "wpe");
    x = graph.add(x, graph.embedding(prefix + "wpe", graph.positions()));
    for (Gpt2Layer layer : layers) {
      x = layer.describe(graph, x);
    }
    head.describe(graph, graph.layerNorm(prefix + "ln_f", x, config.epsilon()));
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    return head.outputShapes(batch, length);
  }
}
