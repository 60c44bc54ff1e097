package io.peft4j.models.roberta;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.models.bert.BertConfig;
import io.peft4j.models.bert.BertEmbeddings;
import io.peft4j.models.bert.BertEncoder;
import io.peft4j.models.bert.BertTask;
import io.peft4j.models.bert.TokenHead;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import org.jspecify.annotations.Nullable;

/** RoBERTa without a head (with or without pooler), or with one for sequences or for tokens. */
final class RobertaNetwork implements Network {
  private final BertConfig config;
  private final int padding;
  private final String prefix;
  private final ModelLayout layout;
  private final BertEmbeddings embeddings;
  private final BertEncoder encoder;
  private final @Nullable Linear pooler;
  private final @Nullable Linear headDense;
  private final @Nullable Linear headOutput;
  private final @Nullable TokenHead tokens;

  RobertaNetwork(BertConfig config, int padding, BertTask task, boolean withPooler) {
    this.config = config;
    this.padding = padding;
    boolean withClassifier = task == BertTask.SEQUENCE_CLASSIFICATION;
    prefix = task == BertTask.HIDDEN_STATES ? "" : RobertaFamily.PREFIX;
    layout = layout(config, prefix, task, withPooler);
    embeddings = new BertEmbeddings(layout, prefix, config);
    encoder = new BertEncoder(layout, prefix, config);
    pooler = withPooler ? new Linear(layout, prefix + "pooler.dense") : null;
    headDense = withClassifier ? new Linear(layout, "classifier.dense") : null;
    headOutput = withClassifier ? new Linear(layout, "classifier.out_proj") : null;
    tokens = task.perToken() ? new TokenHead(layout, task, config) : null;
  }

  private static ModelLayout layout(
      BertConfig config, String prefix, BertTask task, boolean withPooler) {
    ModelLayout.Builder layout = ModelLayout.builder("roberta");
    String path = prefix + "embeddings.";
    layout.embedding(path + "word_embeddings", config.vocabulary(), config.hidden());
    layout.embedding(path + "token_type_embeddings", config.tokenTypes(), config.hidden());
    layout.norm(path + "LayerNorm", config.hidden(), true);
    layout.embedding(path + "position_embeddings", config.positions(), config.hidden());
    BertEncoder.describe(layout, prefix, config);
    if (withPooler) {
      layout.linear(prefix + "pooler.dense", config.hidden(), config.hidden(), true);
    }
    if (task.perToken()) {
      TokenHead.describe(layout, task, config);
    } else if (task == BertTask.SEQUENCE_CLASSIFICATION) {
      layout.linear("classifier.dense", config.hidden(), config.hidden(), true);
      layout.linear("classifier.out_proj", config.hidden(), config.labels(), true);
      layout.head("classifier");
    }
    return layout.build();
  }

  @Override
  public ModelLayout layout() {
    return layout;
  }

  @Override
  public InputLimits limits() {
    // How long a row may be depends on its padding: see places.
    return new InputLimits(config.vocabulary(), config.tokenTypes(), Integer.MAX_VALUE, 0);
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    NDArray hidden =
        encoder.forward(pass, embeddings.forward(pass, inputs, places(inputs)), inputs.padding());
    if (tokens != null) {
      return tokens.forward(pass, hidden);
    }
    if (headDense != null && headOutput != null) {
      NDArray first = dropout(pass, hidden.get(":, 0"));
      NDArray inner = dropout(pass, headDense.forward(pass, first).tanh());
      return named(headOutput.forward(pass, inner), "logits");
    }
    NDList outputs = named(hidden, "last_hidden_state");
    if (pooler != null) {
      outputs.addAll(named(pooler.forward(pass, hidden.get(":, 0")).tanh(), "pooler_output"));
    }
    return outputs;
  }

  /** Tokens are counted from the padding index + 1; padding tokens stay at the padding index. */
  private NDArray places(ModelInputs inputs) {
    long[] ids = inputs.idValues();
    long[] places = new long[ids.length];
    int length = (int) inputs.length();
    for (int row = 0; row < ids.length; row += length) {
      long place = padding;
      for (int i = row; i < row + length; i++) {
        places[i] = ids[i] == padding ? padding : ++place;
      }
      if (place >= config.positions()) {
        throw new InvalidInputException(
            "the model takes at most "
                + (config.positions() - padding - 1)
                + " tokens in a row, padding not counted; given were "
                + (place - padding));
      }
    }
    return Ops.engineOwned(inputs.manager().create(places, inputs.ids().getShape()));
  }

  private NDArray dropout(Pass pass, NDArray x) {
    return Ops.dropout(x, config.classifierDropout(), pass.dropout());
  }

  private static NDList named(NDArray array, String name) {
    array.setName(name);
    return new NDList(array);
  }

  @Override
  public void describe(ModelGraph graph) {
    graph.module(prefix + "embeddings");
    GraphValue hidden =
        encoder.describe(graph, embeddings.describe(graph, graph.orderAfter(padding)));
    graph.module("");
    if (tokens != null) {
      tokens.describe(graph, hidden);
    } else if (headOutput != null) {
      graph.module("classifier");
      GraphValue inner = graph.tanh(graph.linear("classifier.dense", graph.first(hidden)));
      graph.output("logits", graph.linear("classifier.out_proj", inner));
    } else {
      graph.output("last_hidden_state", hidden);
      if (pooler != null) {
        graph.module(prefix + "pooler");
        graph.output(
            "pooler_output",
            graph.tanh(graph.linear(prefix + "pooler.dense", graph.first(hidden))));
      }
    }
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    if (tokens != null) {
      return tokens.outputShapes(batch, length);
    }
    if (headOutput != null) {
      return new Shape[] {new Shape(batch, config.labels())};
    }
    Shape hidden = new Shape(batch, length, config.hidden());
    return pooler == null
        ? new Shape[] {hidden}
        : new Shape[] {hidden, new Shape(batch, config.hidden())};
  }
}
