package io.peft4j.models.bert;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.DataType;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.LayerNorm;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;

/**
 * The embeddings that BERT and RoBERTa have in common: the sum of a row for the token, its type and
 * its position, normalised. Holds no arrays.
 */
public final class BertEmbeddings {
  private final String path;
  private final BertConfig config;
  private final Embedding words;
  private final Embedding types;
  private final Embedding positions;
  private final LayerNorm norm;

  /**
   * The embeddings of a model.
   *
   * @param layout the model's layout
   * @param prefix what stands before {@code embeddings}, empty or ending in a dot
   * @param config the model's configuration
   */
  public BertEmbeddings(ModelLayout layout, String prefix, BertConfig config) {
    this.config = config;
    path = prefix + "embeddings.";
    words = new Embedding(layout, path + "word_embeddings");
    types = new Embedding(layout, path + "token_type_embeddings");
    positions = new Embedding(layout, path + "position_embeddings");
    norm = new LayerNorm(layout, path + "LayerNorm", config.epsilon());
  }

  /**
   * Embeds tokens.
   *
   * @param pass weights and adapters
   * @param inputs the tokens and their types
   * @param places int64 [batch, length], the position of each token
   * @return float32 [batch, length, hidden]
   */
  public NDArray forward(Pass pass, ModelInputs inputs, NDArray places) {
    return Scopes.keepResult(
        () -> {
          NDArray given = inputs.types();
          NDArray kinds =
              given == null
                  ? inputs.manager().zeros(inputs.ids().getShape(), DataType.INT64)
                  : given;
          NDArray sum =
              pass.noisy(words.forward(pass, inputs.ids()))
                  .add(types.forward(pass, kinds))
                  .add(positions.forward(pass, places));
          return Ops.dropout(norm.forward(pass, sum), config.hiddenDropout(), pass.dropout());
        });
  }

  /**
   * Says what {@link #forward} computes.
   *
   * @param graph takes it down
   * @param places the position of each token
   * @return [batch, length, hidden]
   */
  public GraphValue describe(ModelGraph graph, GraphValue places) {
    graph.module(path.substring(0, path.length() - 1));
    GraphValue sum =
        graph.add(
            graph.add(
                graph.embedding(path + "word_embeddings", graph.tokens()),
                graph.embedding(path + "token_type_embeddings", graph.tokenTypes())),
            graph.embedding(path + "position_embeddings", places));
    return graph.layerNorm(path + "LayerNorm", sum, config.epsilon());
  }
}
