package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.models.CausalContext;
import io.peft4j.nn.Join;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One layer of a decoder: attention and gated feed-forward, each of a normalised input. */
final class DecoderLayer {
  private final LayerConfig config;
  private final int index;
  private final int window;
  private final LayerNames names;
  private final Projections inputs;
  private final @Nullable RmsNorm queryNorm;
  private final @Nullable RmsNorm keyNorm;
  private final Linear attentionOutput;
  private final Join attentionJoin;
  private final Projections inner;
  private final Linear down;
  private final Join outputJoin;
  private final RmsNorm inputNorm;
  private final @Nullable RmsNorm attentionNorm;
  private final RmsNorm innerNorm;
  private final @Nullable RmsNorm outputNorm;
  private final FusedLayer fused;

  DecoderLayer(ModelLayout layout, String path, int index, int window, LayerConfig config) {
    this.config = config;
    this.index = index;
    this.window = window;
    names = new LayerNames(path, config);
    inputs = new Projections(layout, names.inputs(), names.inputSizes());
    attentionOutput = new Linear(layout, names.attentionOutput());
    attentionJoin = new Join(path + ".self_attn", null);
    inner = new Projections(layout, names.inner(), names.innerSizes());
    down = new Linear(layout, names.down());
    outputJoin = new Join(path + ".mlp", null);
    boolean headNorms = config.options().headNorms();
    queryNorm = headNorms ? norm(layout, names.queryNorm()) : null;
    keyNorm = headNorms ? norm(layout, names.keyNorm()) : null;
    inputNorm = norm(layout, names.inputNorm());
    innerNorm = norm(layout, names.innerNorm());
    boolean outerNorms = config.options().outerNorms();
    attentionNorm = outerNorms ? norm(layout, names.attentionNorm()) : null;
    outputNorm = outerNorms ? norm(layout, names.outputNorm()) : null;
    fused =
        new FusedLayer(
            layout,
            names,
            index,
            window,
            config,
            new FusedLayer.Norms(
                inputNorm, innerNorm, queryNorm, keyNorm, attentionNorm, outputNorm),
            List.of(attentionJoin, outputJoin));
  }

  private RmsNorm norm(ModelLayout layout, String path) {
    return new RmsNorm(layout, path, config.epsilon(), config.options().shiftedNorms());
  }

  FusedLayer fused() {
    return fused;
  }

  NDArray forward(Pass pass, NDArray x, NDList rotations, CausalContext context) {
    NDArray[] parts = inputs.forward(pass, inputNorm.forward(pass, x));
    NDList turned =
        config
            .rotary()
            .rotate(
                headwise(pass, queryNorm, parts[0]), headwise(pass, keyNorm, parts[1]), rotations);
    NDArray seen =
        context.attend(
            index,
            config.attention(),
            turned.get(0),
            turned.get(1),
            parts[2],
            window,
            pass.dropout() ? config.attentionDropout() : 0);
    NDArray attention = outer(pass, attentionNorm, attentionOutput.forward(pass, seen));
    NDArray attended = attentionJoin.forward(pass, attention, x);
    NDArray[] gated = inner.forward(pass, innerNorm.forward(pass, attended));
    NDArray activated = config.activation().gated(gated[0], gated[1]);
    NDArray output = outer(pass, outputNorm, down.forward(pass, activated));
    return outputJoin.forward(pass, output, attended);
  }

  /** Normalises each head by itself. */
  private NDArray headwise(Pass pass, @Nullable RmsNorm norm, NDArray x) {
    if (norm == null) {
      return x;
    }
    long batch = x.getShape().get(0);
    long length = x.getShape().get(1);
    NDArray heads = x.reshape(batch, length, -1, config.headSize());
    return norm.forward(pass, heads).reshape(batch, length, -1);
  }

  private NDArray outer(Pass pass, @Nullable RmsNorm norm, NDArray x) {
    NDArray normed = norm == null ? x : norm.forward(pass, x);
    return Ops.dropout(normed, config.residualDropout(), pass.dropout());
  }
}
