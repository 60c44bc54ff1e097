package io.peft4j.models.bert;

import ai.djl.ndarray.NDArray;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Join;
import io.peft4j.nn.LayerNorm;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.target.JoinKind;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Activation;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/**
 * One layer of the encoder: attention and feed-forward, each joined with its input and normalised.
 */
final class BertLayer {
  private final String path;
  private final BertConfig config;
  private final Attention attention;
  private final Linear query;
  private final Linear key;
  private final Linear value;
  private final Linear attentionOutput;
  private final Join attentionJoin;
  private final Linear intermediate;
  private final Linear output;
  private final Join outputJoin;

  BertLayer(ModelLayout layout, String path, BertConfig config) {
    this.path = path;
    this.config = config;
    attention = Attention.of(config.heads(), config.heads());
    query = new Linear(layout, path + ".attention.self.query");
    key = new Linear(layout, path + ".attention.self.key");
    value = new Linear(layout, path + ".attention.self.value");
    attentionOutput = new Linear(layout, path + ".attention.output.dense");
    attentionJoin = join(layout, path + ".attention.output", config);
    intermediate = new Linear(layout, path + ".intermediate.dense");
    output = new Linear(layout, path + ".output.dense");
    outputJoin = join(layout, path + ".output", config);
  }

  private static Join join(ModelLayout layout, String path, BertConfig config) {
    return new Join(path, new LayerNorm(layout, path + ".LayerNorm", config.epsilon()));
  }

  static void describe(ModelLayout.Builder layout, String path, BertConfig config) {
    long hidden = config.hidden();
    layout.linear(path + ".attention.self.query", hidden, hidden, true);
    layout.linear(path + ".attention.self.key", hidden, hidden, true);
    layout.linear(path + ".attention.self.value", hidden, hidden, true);
    layout.linear(path + ".attention.output.dense", hidden, hidden, true);
    layout.norm(path + ".attention.output.LayerNorm", hidden, true);
    layout.join(path + ".attention.output", hidden, JoinKind.ATTENTION, true);
    layout.linear(path + ".intermediate.dense", hidden, config.intermediate(), true);
    layout.linear(path + ".output.dense", config.intermediate(), hidden, true);
    layout.norm(path + ".output.LayerNorm", hidden, true);
    layout.join(path + ".output", hidden, JoinKind.FEED_FORWARD, true);
  }

  NDArray forward(Pass pass, NDArray x, @Nullable NDArray padding) {
    NDArray context =
        attention.attend(
            query.forward(pass, x),
            key.forward(pass, x),
            value.forward(pass, x),
            padding,
            false,
            pass.dropout() ? config.attentionDropout() : 0);
    NDArray attended =
        attentionJoin.forward(pass, dropout(pass, attentionOutput.forward(pass, context)), x);
    NDArray inner = intermediate.forward(pass, attended);
    NDArray activated = config.tanhGelu() ? Ops.geluTanh(inner) : Ops.gelu(inner);
    return outputJoin.forward(pass, dropout(pass, output.forward(pass, activated)), attended);
  }

  /** Says what {@link #forward} computes. */
  GraphValue describe(ModelGraph graph, GraphValue x) {
    String self = path + ".attention.self";
    graph.module(self);
    GraphValue context =
        graph.attend(
            attention,
            graph.linear(self + ".query", x),
            graph.linear(self + ".key", x),
            graph.linear(self + ".value", x));
    GraphValue attended = joined(graph, path + ".attention.output", context, x);
    graph.module(path + ".intermediate");
    GraphValue inner = graph.linear(path + ".intermediate.dense", attended);
    GraphValue activated =
        graph.activate(config.tanhGelu() ? Activation.GELU_TANH : Activation.GELU, inner);
    return joined(graph, path + ".output", activated, attended);
  }

  private GraphValue joined(ModelGraph graph, String part, GraphValue x, GraphValue residual) {
    graph.module(part);
    GraphValue sum = graph.add(graph.linear(part + ".dense", x), residual);
    return graph.layerNorm(part + ".LayerNorm", sum, config.epsilon());
  }

  private NDArray dropout(Pass pass, NDArray x) {
    return Ops.dropout(x, config.hiddenDropout(), pass.dropout());
  }
}
