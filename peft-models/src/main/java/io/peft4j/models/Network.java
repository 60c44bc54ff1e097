package io.peft4j.models;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import java.util.Optional;
import java.util.OptionalDouble;

/** A model without its weights: names, shapes, and how it computes. Immutable; holds no arrays. */
public interface Network {

  /**
   * Names and shapes, in the order of Hugging Face's {@code named_parameters}.
   *
   * @return the layout
   */
  ModelLayout layout();

  /**
   * What inputs must satisfy.
   *
   * @return the limits
   */
  InputLimits limits();

  /**
   * Computes the outputs. Intermediate arrays are left to the caller's {@link
   * ai.djl.ndarray.NDScope}.
   *
   * @param pass weights and adapters
   * @param inputs checked inputs
   * @return named float32 arrays, the first dimension of each the batch
   */
  NDList forward(Pass pass, ModelInputs inputs);

  /**
   * Computes the loss of a causal language model and its gradients in a cheaper way than to record
   * {@link #forward}, as {@link io.peft4j.nn.Backbone#accumulateGradients} says.
   *
   * @param pass weights, adapters and options of a training step
   * @param inputs checked inputs
   * @param loss what is made small
   * @param weight multiplies the gradients, not the result
   * @return the loss; empty if there is no such way, and then nothing has been changed
   */
  default OptionalDouble accumulateGradients(
      Pass pass, ModelInputs inputs, NextTokens loss, double weight) {
    return OptionalDouble.empty();
  }

  /**
   * Says what {@link #forward} computes, without dropout and adapters.
   *
   * @param graph takes it down
   */
  void describe(ModelGraph graph);

  /**
   * The shapes of the outputs.
   *
   * @param batch number of rows
   * @param length tokens in a row
   * @return one shape for each output
   */
  Shape[] outputShapes(long batch, long length);

  /**
   * What a cache of keys and values must have for token-by-token computing.
   *
   * @return the shape; empty if the model cannot compute so
   */
  default Optional<CacheShape> cacheShape() {
    return Optional.empty();
  }

  /**
   * Whether what a model makes of a token depends on how long the whole text is.
   *
   * @return what a loop over a cache must heed
   */
  default TextLength textLength() {
    return new TextLength(false, Integer.MAX_VALUE);
  }

  /**
   * How the length of a text matters.
   *
   * @param inOnePass whether a text must be read in one pass
   * @param switchesAfter the length beyond which all tokens before are computed in another way, so
   *     that a text that grows beyond it must be read again
   */
  record TextLength(boolean inOnePass, int switchesAfter) {}

  /**
   * What inputs must satisfy.
   *
   * @param vocabulary number of token ids
   * @param tokenTypes number of token types; 0 if the model takes none
   * @param longest most tokens in a row
   * @param positions number of positions that can be chosen for tokens; 0 if the model finds them
   *     by itself
   */
  record InputLimits(int vocabulary, int tokenTypes, int longest, int positions) {}

  /**
   * What a cache of keys and values is made for.
   *
   * @param layers number of layers
   * @param heads key and value heads of a layer
   * @param size size of a head
   */
  record CacheShape(int layers, int heads, int size) {}
}
