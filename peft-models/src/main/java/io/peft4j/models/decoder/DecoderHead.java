package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Layer;
import io.peft4j.nn.Linear;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Weight;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.VocabularyLoss;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/**
 * What a decoder ends with: {@code lm_head} with {@code logits} [batch, length, vocabulary]; {@code
 * score} with {@code logits} [batch, labels], taken at the last token of each row that is not
 * padding; {@code classifier} with {@code logits} [batch, length, labels]; or nothing. Holds no
 * arrays.
 */
public final class DecoderHead {
  private static final String LOGITS = "lm_head";
  private static final String SCORE = "score";
  private static final String CLASSIFIER = "classifier";
  private static final Kernel ROWS =
      Kernel.of(
          "x: Tensor, i: Tensor -> Tensor",
          "return torch.index_select(torch.flatten(x, 0, 1), 0, i)");

  private final HeadConfig config;
  private final int vocabulary;
  private final int hidden;
  private final @Nullable Linear linear;

  /**
   * The head of a model.
   *
   * @param layout the model's layout, to which {@link #describe} has added the head
   * @param config what the configuration says about it
   * @param vocabulary number of tokens
   * @param hidden size of a hidden state
   */
  public DecoderHead(ModelLayout layout, HeadConfig config, int vocabulary, int hidden) {
    this.config = config;
    this.vocabulary = vocabulary;
    this.hidden = hidden;
    linear =
        switch (config.task()) {
          case NEXT_TOKEN -> new Linear(layout, LOGITS);
          case SEQUENCE_CLASSIFICATION -> new Linear(layout, SCORE);
          case TOKEN_CLASSIFICATION -> new Linear(layout, CLASSIFIER);
          case HIDDEN_STATES -> null;
        };
  }

  /**
   * Adds the head to a layout.
   *
   * @param layout the layout, with the embedding
   * @param config what the configuration says about the head
   * @param vocabulary number of tokens
   * @param hidden size of a hidden state
   * @param embedding the path of the embedding
   */
  public static void describe(
      ModelLayout.Builder layout, HeadConfig config, int vocabulary, int hidden, String embedding) {
    switch (config.task()) {
      case NEXT_TOKEN -> {
        if (config.tied()) {
          layout.tiedLinear(LOGITS, hidden, vocabulary, embedding + ".weight");
        } else {
          layout.linear(LOGITS, hidden, vocabulary, false);
        }
        layout.outputLayer(LOGITS);
      }
      case SEQUENCE_CLASSIFICATION -> {
        layout.linear(SCORE, hidden, config.labels(), false);
        layout.head(SCORE);
      }
      case TOKEN_CLASSIFICATION -> {
        layout.linear(CLASSIFIER, hidden, config.labels(), true);
        layout.head(CLASSIFIER);
      }
      case HIDDEN_STATES -> {}
    }
  }

  /**
   * Computes the outputs.
   *
   * @param pass weights and adapters
   * @param states the hidden states, normalised, float32 [batch, length, hidden]
   * @param inputs the inputs of the pass
   * @return the named output
   * @throws InvalidInputException if several rows are to be classified and there is no token for
   *     padding
   */
  public NDList forward(Pass pass, NDArray states, ModelInputs inputs) {
    NDArray output = states;
    if (linear != null) {
      NDArray seen =
          switch (config.task()) {
            case SEQUENCE_CLASSIFICATION -> last(states, inputs);
            case TOKEN_CLASSIFICATION -> Ops.dropout(states, config.dropout(), pass.dropout());
            default -> states;
          };
      output = linear.forward(pass, seen);
      if (config.softcap() > 0 && !config.task().classifies()) {
        output = Ops.softcap(output, config.softcap());
      }
    }
    output.setName(linear == null ? "last_hidden_state" : "logits");
    return new NDList(output);
  }

  /**
   * Computes the loss of a causal language model and follows it back through the head, without the
   * logits and only where labels count.
   *
   * @param pass weights and adapters
   * @param x the output of the last layer, float32 [batch, length, hidden]; what its gradient is
   *     wanted for is recorded
   * @param norm what stands between the layers and this head
   * @param loss labels and smoothing
   * @param weight multiplies the gradients, not the result
   * @return the loss; empty if this is no such head, something acts on it, or no label counts
   * @throws io.peft4j.InvalidConfigException if labels do not fit
   */
  public OptionalDouble accumulateGradients(
      Pass pass, NDArray x, Layer norm, NextTokens loss, double weight) {
    Weight factor = lossWeight(pass);
    if (factor == null) {
      return OptionalDouble.empty();
    }
    NextTokens.Targets targets = loss.targets(vocabulary);
    if (targets.rows().length == 0) {
      return OptionalDouble.empty();
    }
    NDManager manager = x.getManager();
    NDArray rows = Ops.engineOwned(manager.create(targets.rows()));
    NDArray states =
        norm.untouched(pass) == null
            ? ROWS.call(norm.forward(pass, x), rows)
            : norm.forward(pass, ROWS.call(x, rows));
    NDArray tokens = Ops.engineOwned(manager.create(targets.tokens()));
    NDList result =
        new VocabularyLoss(factor.precision(), config.softcap(), loss.smoothing())
            .lossAndGradient(states.stopGradient(), factor.source(), tokens);
    if (Ops.recorded(states)) {
      NDArray gradient = Ops.scale(result.get(1), (float) weight);
      JniUtils.backward((PtNDArray) states, (PtNDArray) gradient, false, false);
    }
    return OptionalDouble.of(result.get(0).toFloatArray()[0]);
  }

  /**
   * The weight that losses are computed with.
   *
   * @param pass weights and adapters
   * @return the weight; null if this is no head of a language model, or something acts on it
   */
  public @Nullable Weight lossWeight(Pass pass) {
    return linear == null || config.task() != DecoderTask.NEXT_TOKEN
        ? null
        : linear.untouched(pass);
  }

  /**
   * Says what {@link #forward} computes.
   *
   * @param graph takes it down
   * @param states the hidden states, normalised, [batch, length, hidden]
   */
  public void describe(ModelGraph graph, GraphValue states) {
    graph.module("");
    switch (config.task()) {
      case HIDDEN_STATES -> graph.output("last_hidden_state", states);
      case NEXT_TOKEN -> {
        GraphValue logits = graph.linear(LOGITS, states);
        double bound = config.softcap();
        graph.output(
            "logits",
            bound > 0 ? graph.scale(graph.tanh(graph.scale(logits, 1 / bound)), bound) : logits);
      }
      case SEQUENCE_CLASSIFICATION ->
          graph.output("logits", graph.linear(SCORE, graph.last(states, config.padding())));
      case TOKEN_CLASSIFICATION -> graph.output("logits", graph.linear(CLASSIFIER, states));
    }
  }

  /** The states of the rightmost tokens that are not padding. */
  private NDArray last(NDArray states, ModelInputs inputs) {
    int batch = Math.toIntExact(inputs.batch());
    int length = Math.toIntExact(inputs.length());
    if (config.padding() < 0 && batch > 1) {
      throw new InvalidInputException(
          "the configuration names no pad_token_id, without which only one row can be classified"
              + " at a time; given were "
              + batch);
    }
    if (inputs.sequences() != null) {
      throw new InvalidInputException(
          "packed rows cannot be classified: a class is of a whole row");
    }
    long[] ids = inputs.idValues();
    long[] places = new long[batch];
    for (int row = 0; row < batch; row++) {
      int place = length - 1;
      while (place > 0 && ids[row * length + place] == config.padding()) {
        place--;
      }
      places[row] = (long) row * length + place;
    }
    return ROWS.call(states, Ops.engineOwned(inputs.manager().create(places)));
  }

  /**
   * The shapes of the outputs.
   *
   * @param batch number of rows
   * @param length tokens in a row
   * @return the shape of the output
   */
  public Shape[] outputShapes(long batch, long length) {
    return new Shape[] {
      switch (config.task()) {
        case NEXT_TOKEN -> new Shape(batch, length, vocabulary);
        case SEQUENCE_CLASSIFICATION -> new Shape(batch, config.labels());
        case TOKEN_CLASSIFICATION -> new Shape(batch, length, config.labels());
        case HIDDEN_STATES -> new Shape(batch, length, hidden);
      }
    };
  }
}
