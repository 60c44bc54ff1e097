package io.peft4j.models.gpt2;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.CausalContext;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Join;
import io.peft4j.nn.LayerNorm;
import io.peft4j.nn.LinearTransposed;
import io.peft4j.nn.Pass;
import io.peft4j.target.JoinKind;
import io.peft4j.target.LayerKind;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Ops;

/** One layer: attention and feed-forward, each of a normalised input. */
final class Gpt2Layer {
  private final String path;
  private final Gpt2Config config;
  private final int index;
  private final Attention attention;
  private final LayerNorm attentionNorm;
  private final LinearTransposed attentionInput;
  private final LinearTransposed attentionOutput;
  private final Join attentionJoin;
  private final LayerNorm innerNorm;
  private final LinearTransposed intermediate;
  private final LinearTransposed output;
  private final Join outputJoin;

  Gpt2Layer(ModelLayout layout, String path, int index, Gpt2Config config) {
    this.path = path;
    this.config = config;
    this.index = index;
    attention = new Attention(config.heads(), config.heads(), config.scale(index), 0);
    attentionNorm = new LayerNorm(layout, path + ".ln_1", config.epsilon());
    attentionInput = new LinearTransposed(layout, path + ".attn.c_attn");
    attentionOutput = new LinearTransposed(layout, path + ".attn.c_proj");
    attentionJoin = new Join(path + ".attn", null);
    innerNorm = new LayerNorm(layout, path + ".ln_2", config.epsilon());
    intermediate = new LinearTransposed(layout, path + ".mlp.c_fc");
    output = new LinearTransposed(layout, path + ".mlp.c_proj");
    outputJoin = new Join(path + ".mlp", null);
  }

  static void describe(ModelLayout.Builder layout, String path, Gpt2Config config) {
    int hidden = config.hidden();
    layout.norm(path + ".ln_1", hidden, true);
    transposed(layout, path + ".attn.c_attn", hidden, 3L * hidden);
    transposed(layout, path + ".attn.c_proj", hidden, hidden);
    layout.norm(path + ".ln_2", hidden, true);
    transposed(layout, path + ".mlp.c_fc", hidden, config.intermediate());
    transposed(layout, path + ".mlp.c_proj", config.intermediate(), hidden);
    layout.join(path + ".attn", hidden, JoinKind.ATTENTION, false);
    layout.join(path + ".mlp", hidden, JoinKind.FEED_FORWARD, false);
  }

  private static void transposed(ModelLayout.Builder layout, String path, long in, long out) {
    layout.layer(path, LayerKind.LINEAR_TRANSPOSED, new Shape(in, out), true);
  }

  NDArray forward(Pass pass, NDArray x, CausalContext context) {
    NDList parts = attentionInput.forward(pass, attentionNorm.forward(pass, x)).split(3, 2);
    NDArray seen =
        context.attend(
            index,
            attention,
            parts.get(0),
            parts.get(1),
            parts.get(2),
            0,
            pass.dropout() ? config.attentionDropout() : 0);
    NDArray attended =
        attentionJoin.forward(pass, dropout(pass, attentionOutput.forward(pass, seen)), x);
    NDArray inner = intermediate.forward(pass, innerNorm.forward(pass, attended));
    NDArray activated = config.activation().apply(inner);
    return outputJoin.forward(pass, dropout(pass, output.forward(pass, activated)), attended);
  }

  /** Says what {@link #forward} computes. */
  GraphValue describe(ModelGraph graph, GraphValue x) {
    graph.module(path + ".attn");
    GraphValue normed = graph.layerNorm(path + ".ln_1", x, config.epsilon());
    GraphValue parts = graph.linear(path + ".attn.c_attn", normed);
    long hidden = config.hidden();
    GraphValue seen =
        graph.attendCausally(
            index,
            attention,
            graph.slice(parts, 0, hidden),
            graph.slice(parts, hidden, 2 * hidden),
            graph.slice(parts, 2 * hidden, 3 * hidden),
            0);
    GraphValue attended = graph.add(x, graph.linear(path + ".attn.c_proj", seen));
    graph.module(path + ".mlp");
    GraphValue inner =
        graph.linear(
            path + ".mlp.c_fc", graph.layerNorm(path + ".ln_2", attended, config.epsilon()));
    return graph.add(
        attended, graph.linear(path + ".mlp.c_proj", graph.activate(config.activation(), inner)));
  }

  private NDArray dropout(Pass pass, NDArray x) {
    return Ops.dropout(x, config.residualDropout(), pass.dropout());
  }
}
