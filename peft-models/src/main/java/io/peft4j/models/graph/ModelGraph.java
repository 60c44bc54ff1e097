package io.peft4j.models.graph;

import io.peft4j.models.decoder.Rope;
import io.peft4j.torch.Activation;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Rotary;

/**
 * Takes down what a model computes. Shapes are those of a batch of rows: [batch, length, features]
 * between layers. Layers are named by their paths, and their weights are found by these.
 */
public interface ModelGraph {

  /**
   * Says which module the operations that follow belong to; operations with a path of their own are
   * not concerned.
   *
   * @param path dotted path, for example {@code model.layers.0.self_attn}; empty for the model
   */
  void module(String path);

  // --- inputs ---------------------------------------------------------------------------------

  /**
   * The tokens, {@code input_ids}.
   *
   * @return int64 [batch, length]
   */
  GraphValue tokens();

  /**
   * The kinds of the tokens, {@code token_type_ids}.
   *
   * @return int64 [batch, length]
   */
  GraphValue tokenTypes();

  /**
   * The positions that the caller gives, {@code position_ids}.
   *
   * @return int64 [batch, length]
   */
  GraphValue positions();

  /**
   * The numbers 0, 1, 2 and so on of the tokens of a row.
   *
   * @return int64 [1, length]
   */
  GraphValue order();

  /**
   * Positions that count the tokens of a row that are not padding, from padding + 1; padding has
   * the position padding.
   *
   * @param padding the token that fills rows up
   * @return int64 [batch, length]
   */
  GraphValue orderAfter(int padding);

  // --- layers ---------------------------------------------------------------------------------

  /**
   * An embedding.
   *
   * @param path the layer
   * @param ids int64 [batch or 1, length]
   * @return [batch or 1, length, dimension]
   */
  GraphValue embedding(String path, GraphValue ids);

  /**
   * A linear layer, whichever way its weight is stored.
   *
   * @param path the layer
   * @param x [..., in]
   * @return [..., out]
   */
  GraphValue linear(String path, GraphValue x);

  /**
   * A layer norm over the last dimension.
   *
   * @param path the layer
   * @param x any shape
   * @param epsilon added to the variance
   * @return the same shape
   */
  GraphValue layerNorm(String path, GraphValue x, double epsilon);

  /**
   * A root-mean-square norm over the last dimension.
   *
   * @param path the layer
   * @param x any shape
   * @param epsilon added to the mean square
   * @param shifted whether the factor is 1 + weight
   * @return the same shape
   */
  GraphValue rmsNorm(String path, GraphValue x, double epsilon, boolean shifted);

  // --- arithmetic -----------------------------------------------------------------------------

  /**
   * A sum.
   *
   * @param x any shape
   * @param y a shape that fits
   * @return x + y
   */
  GraphValue add(GraphValue x, GraphValue y);

  /**
   * A product of values at equal places.
   *
   * @param x any shape
   * @param y a shape that fits
   * @return x · y
   */
  GraphValue multiply(GraphValue x, GraphValue y);

  /**
   * A product with a number.
   *
   * @param x any shape
   * @param factor the number
   * @return x · factor
   */
  GraphValue scale(GraphValue x, double factor);

  /**
   * The hyperbolic tangent.
   *
   * @param x any shape
   * @return the same shape
   */
  GraphValue tanh(GraphValue x);

  /**
   * The function of a feed-forward network.
   *
   * @param function which
   * @param x any shape
   * @return the same shape
   */
  GraphValue activate(Activation function, GraphValue x);

  // --- shapes ---------------------------------------------------------------------------------

  /**
   * Part of the last dimension.
   *
   * @param x any shape
   * @param begin first index
   * @param end index after the last
   * @return [..., end - begin]
   */
  GraphValue slice(GraphValue x, long begin, long end);

  /**
   * One feature of each token.
   *
   * @param x [batch, length, features]
   * @param index which
   * @return [batch, length]
   */
  GraphValue feature(GraphValue x, long index);

  /**
   * Splits the features into heads.
   *
   * @param x [batch, length, heads · size]
   * @param size of a head
   * @return [batch, length, heads, size]
   */
  GraphValue split(GraphValue x, long size);

  /**
   * Puts heads together again.
   *
   * @param x [batch, length, heads, size]
   * @param features heads · size
   * @return [batch, length, heads · size]
   */
  GraphValue join(GraphValue x, long features);

  // --- tokens of a row ------------------------------------------------------------------------

  /**
   * The first token of each row.
   *
   * @param x [batch, length, features]
   * @return [batch, features]
   */
  GraphValue first(GraphValue x);

  /**
   * The rightmost token of each row that is not padding.
   *
   * @param x [batch, length, features]
   * @param padding the token that fills rows up; negative if there is none
   * @return [batch, features]
   */
  GraphValue last(GraphValue x, int padding);

  /**
   * The mean of the tokens of each row that {@code attention_mask} counts.
   *
   * @param x [batch, length, features]
   * @return [batch, features]
   */
  GraphValue mean(GraphValue x);

  // --- attention ------------------------------------------------------------------------------

  /**
   * Turns heads by the angles of the caller's positions.
   *
   * @param x [batch, length, heads · headSize]
   * @param rope the angles
   * @param rotary how heads are turned
   * @return the same shape
   */
  GraphValue rotate(GraphValue x, Rope rope, Rotary rotary);

  /**
   * Attention in which every token sees all tokens that are not padding.
   *
   * @param attention heads, scale and bound
   * @param query [batch, length, heads · size]
   * @param key [batch, length, keyValueHeads · size]
   * @param value as {@code key}
   * @return [batch, length, heads · size]
   */
  GraphValue attend(Attention attention, GraphValue query, GraphValue key, GraphValue value);

  /**
   * Attention in which a token sees itself and those before it, those of a cache included if the
   * model has one.
   *
   * @param layer number of the layer, from 0
   * @param attention heads, scale and bound
   * @param query [batch, length, heads · size]
   * @param key [batch, length, keyValueHeads · size]
   * @param value as {@code key}
   * @param window how many tokens a token sees, itself included; 0 for all
   * @return [batch, length, heads · size]
   */
  GraphValue attendCausally(
      int layer,
      Attention attention,
      GraphValue query,
      GraphValue key,
      GraphValue value,
      int window);

  // --- outputs --------------------------------------------------------------------------------

  /**
   * Makes a value an output.
   *
   * @param name its name, as in transformers
   * @param x the value
   */
  void output(String name, GraphValue x);
}
