package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.models.CausalContext;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
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
  private final LayerStep step;

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
    FusedLayer.Norms norms =
        new FusedLayer.Norms(inputNorm, innerNorm, queryNorm, keyNorm, attentionNorm, outputNorm);
    List<Join> joins = List.of(attentionJoin, outputJoin);
    fused = new FusedLayer(layout, names, index, window, config, norms, joins);
    step =
        new LayerStep(
            config,
            window,
            new LayerStep.Linears(inputs.layers(), attentionOutput, inner.layers(), down),
            norms,
            joins);
  }

  private RmsNorm norm(ModelLayout layout, String path) {
    return new RmsNorm(layout, path, config.epsilon(), config.options().shiftedNorms());
  }

  FusedLayer fused() {
    return fused;
  }

  LayerStep step() {
    return step;
  }

  NDArray forward(Pass pass, NDArray x, NDList rotations, CausalContext context) {
    if (context.readable(pass) && step.readable(pass)) {
      return step.read(pass, x, rotations, context, index);
    }
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

  /** Says what {@link #forward} computes. */
  GraphValue describe(ModelGraph graph, GraphValue x, Rope rope) {
    boolean headNorms = config.options().headNorms();
    boolean outerNorms = config.options().outerNorms();
    graph.module(names.attention());
    GraphValue[] parts =
        Projections.describe(
            graph, names.inputs(), names.inputSizes(), norm(graph, names.inputNorm(), x));
    GraphValue query = headNorms ? headwise(graph, names.queryNorm(), parts[0]) : parts[0];
    GraphValue key = headNorms ? headwise(graph, names.keyNorm(), parts[1]) : parts[1];
    GraphValue seen =
        graph.attendCausally(
            index,
            config.attention(),
            graph.rotate(query, rope, config.rotary()),
            graph.rotate(key, rope, config.rotary()),
            parts[2],
            window);
    GraphValue attention = graph.linear(names.attentionOutput(), seen);
    if (outerNorms) {
      attention = norm(graph, names.attentionNorm(), attention);
    }
    graph.module(names.path());
    GraphValue attended = graph.add(x, attention);
    graph.module(names.feedForward());
    GraphValue[] gated =
        Projections.describe(
            graph, names.inner(), names.innerSizes(), norm(graph, names.innerNorm(), attended));
    GraphValue activated = graph.multiply(graph.activate(config.activation(), gated[0]), gated[1]);
    GraphValue output = graph.linear(names.down(), activated);
    if (outerNorms) {
      output = norm(graph, names.outputNorm(), output);
    }
    graph.module(names.path());
    return graph.add(attended, output);
  }

  private GraphValue norm(ModelGraph graph, String path, GraphValue x) {
    return graph.rmsNorm(path, x, config.epsilon(), config.options().shiftedNorms());
  }

  private GraphValue headwise(ModelGraph graph, String path, GraphValue x) {
    long features = path.equals(names.queryNorm()) ? config.querySize() : config.keySize();
    return graph.join(norm(graph, path, graph.split(x, config.headSize())), features);
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
