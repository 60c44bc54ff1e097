package io.peft4j.models.llama;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.CausalContext;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Rotary;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Llama with or without the layer that gives logits. Positions count from 0 at the first token or
 * padding of a row, as in a plain forward pass of transformers.
 */
final class LlamaNetwork implements Network {
  private static final String HEAD = "lm_head";

  private final LlamaConfig config;
  private final ModelLayout layout;
  private final Rotary rotary;
  private final Embedding tokens;
  private final List<LlamaLayer> layers = new ArrayList<>();
  private final RmsNorm norm;
  private final @Nullable Linear head;

  LlamaNetwork(LlamaConfig config, boolean withHead) {
    this.config = config;
    String prefix = withHead ? LlamaFamily.PREFIX : "";
    layout = layout(config, prefix, withHead);
    rotary = new Rotary(config.theta(), config.headSize());
    tokens = new Embedding(layout, prefix + "embed_tokens");
    for (int i = 0; i < config.layers(); i++) {
      layers.add(new LlamaLayer(layout, prefix + "layers." + i, i, config, rotary));
    }
    norm = new RmsNorm(layout, prefix + "norm", config.epsilon());
    head = withHead ? new Linear(layout, HEAD) : null;
  }

  private static ModelLayout layout(LlamaConfig config, String prefix, boolean withHead) {
    ModelLayout.Builder layout = ModelLayout.builder("llama");
    String embedding = prefix + "embed_tokens";
    layout.embedding(embedding, config.vocabulary(), config.hidden());
    for (int i = 0; i < config.layers(); i++) {
      LlamaLayer.describe(layout, prefix + "layers." + i, config);
    }
    layout.norm(prefix + "norm", config.hidden(), false);
    if (withHead) {
      if (config.tied()) {
        layout.tiedLinear(HEAD, config.hidden(), config.vocabulary(), embedding + ".weight");
      } else {
        layout.linear(HEAD, config.hidden(), config.vocabulary(), false);
      }
      layout.outputLayer(HEAD);
    }
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
    return Optional.of(new CacheShape(config.layers(), config.keyValueHeads(), config.headSize()));
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    CausalContext context = new CausalContext(inputs, 0);
    NDList rotations = rotary.tables(context.positions());
    NDArray x = tokens.forward(pass, inputs.ids());
    boolean fusable = context.fusable(pass);
    for (LlamaLayer layer : layers) {
      NDArray input = x;
      FusedLayer.Prepared prepared = fusable ? layer.fused().prepare(pass) : null;
      x =
          prepared == null
              ? Scopes.keepResult(() -> layer.forward(pass, input, rotations, context))
              : layer.fused().forward(prepared, input, rotations, context);
    }
    context.end();
    NDArray hidden = norm.forward(pass, inputs.lastOnly() ? x.get(":, -1:") : x);
    NDArray output = head == null ? hidden : head.forward(pass, hidden);
    output.setName(head == null ? "last_hidden_state" : "logits");
    return new NDList(output);
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    return new Shape[] {
      new Shape(batch, length, head == null ? config.hidden() : config.vocabulary())
    };
  }
}
