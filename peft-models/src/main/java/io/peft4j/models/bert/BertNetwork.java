package io.peft4j.models.bert;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/** BERT without a head (with or without pooler), or with one for sequences or for tokens. */
final class BertNetwork implements Network {
  private final BertConfig config;
  private final String prefix;
  private final ModelLayout layout;
  private final BertEmbeddings embeddings;
  private final BertEncoder encoder;
  private final @Nullable Linear pooler;
  private final @Nullable Linear classifier;
  private final @Nullable TokenHead tokens;

  BertNetwork(BertConfig config, BertTask task, boolean withPooler) {
    this.config = config;
    boolean withClassifier = task == BertTask.SEQUENCE_CLASSIFICATION;
    prefix = task == BertTask.HIDDEN_STATES ? "" : BertFamily.PREFIX;
    layout = layout(config, prefix, task, withPooler);
    embeddings = new BertEmbeddings(layout, prefix, config);
    encoder = new BertEncoder(layout, prefix, config);
    pooler = withPooler ? new Linear(layout, prefix + "pooler.dense") : null;
    classifier = withClassifier ? new Linear(layout, "classifier") : null;
    tokens = task.perToken() ? new TokenHead(layout, task, config) : null;
  }

  private static ModelLayout layout(
      BertConfig config, String prefix, BertTask task, boolean withPooler) {
    ModelLayout.Builder layout = ModelLayout.builder("bert");
    String path = prefix + "embeddings.";
    layout.embedding(path + "word_embeddings", config.vocabulary(), config.hidden());
    layout.embedding(path + "position_embeddings", config.positions(), config.hidden());
    layout.embedding(path + "token_type_embeddings", config.tokenTypes(), config.hidden());
    layout.norm(path + "LayerNorm", config.hidden(), true);
    BertEncoder.describe(layout, prefix, config);
    if (withPooler) {
      layout.linear(prefix + "pooler.dense", config.hidden(), config.hidden(), true);
    }
    if (task == BertTask.SEQUENCE_CLASSIFICATION) {
      layout.linear("classifier", config.hidden(), config.labels(), true);
      layout.head("classifier");
    } else if (task.perToken()) {
      TokenHead.describe(layout, task, config);
    }
    return layout.build();
  }

  @Override
  public ModelLayout layout() {
    return layout;
  }

  @Override
  public InputLimits limits() {
    return new InputLimits(config.vocabulary(), config.tokenTypes(), config.positions(), 0);
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    long length = inputs.length();
    NDArray places =
        inputs.manager().arange(0, length, 1, DataType.INT64).broadcast(inputs.batch(), length);
    NDArray hidden =
        encoder.forward(pass, embeddings.forward(pass, inputs, places), inputs.padding());
    if (tokens != null) {
      return tokens.forward(pass, hidden);
    }
    if (pooler == null) {
      return classifier == null
          ? named(hidden, "last_hidden_state")
          : classify(pass, classifier, mean(hidden, inputs.padding()));
    }
    NDArray pooled = pooler.forward(pass, hidden.get(":, 0")).tanh();
    if (classifier == null) {
      NDList outputs = named(hidden, "last_hidden_state");
      outputs.addAll(named(pooled, "pooler_output"));
      return outputs;
    }
    return classify(pass, classifier, pooled);
  }

  private NDList classify(Pass pass, Linear head, NDArray pooled) {
    NDArray dropped = Ops.dropout(pooled, config.classifierDropout(), pass.dropout());
    return named(head.forward(pass, dropped), "logits");
  }

  /** The mean over the tokens that are not padding. */
  private static NDArray mean(NDArray hidden, @Nullable NDArray padding) {
    if (padding == null) {
      return hidden.mean(new int[] {1});
    }
    NDArray counted =
        padding.eq(0).toType(DataType.FLOAT32, false).reshape(hidden.getShape().get(0), -1, 1);
    return hidden.mul(counted).sum(new int[] {1}).div(counted.sum(new int[] {1}).maximum(1));
  }

  private static NDList named(NDArray array, String name) {
    array.setName(name);
    return new NDList(array);
  }

  @Override
  public void describe(ModelGraph graph) {
    GraphValue hidden = encoder.describe(graph, embeddings.describe(graph, graph.order()));
    graph.module("");
    if (tokens != null) {
      tokens.describe(graph, hidden);
      return;
    }
    if (classifier == null) {
      graph.output("last_hidden_state", hidden);
    }
    if (pooler != null) {
      graph.module(prefix + "pooler");
      GraphValue pooled = graph.tanh(graph.linear(prefix + "pooler.dense", graph.first(hidden)));
      if (classifier == null) {
        graph.output("pooler_output", pooled);
      } else {
        graph.output("logits", graph.linear("classifier", pooled));
      }
    } else if (classifier != null) {
      graph.output("logits", graph.linear("classifier", graph.mean(hidden)));
    }
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    if (tokens != null) {
      return tokens.outputShapes(batch, length);
    }
    if (classifier != null) {
      return new Shape[] {new Shape(batch, config.labels())};
    }
    Shape hidden = new Shape(batch, length, config.hidden());
    return pooler == null
        ? new Shape[] {hidden}
        : new Shape[] {hidden, new Shape(batch, config.hidden())};
  }
}
