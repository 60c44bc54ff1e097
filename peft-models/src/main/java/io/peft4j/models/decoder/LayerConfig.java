package io.peft4j.models.decoder;

import io.peft4j.torch.Activation;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Rotary;

/**
 * All that changes the arithmetic of a layer, but for its window and its angles. Equal
 * configurations compute alike.
 *
 * @param hidden size of the residual stream
 * @param intermediate size between the two layers of the feed-forward network
 * @param attention heads, scale and bound of scores
 * @param rotary size of a head, and how much of it is turned
 * @param epsilon of all norms
 * @param options what is there besides
 * @param activation of the feed-forward network
 * @param attentionDropout probability with which attention weights are dropped
 * @param residualDropout probability with which values that join the residual stream are dropped
 */
record LayerConfig(
    int hidden,
    int intermediate,
    Attention attention,
    Rotary rotary,
    double epsilon,
    Options options,
    Activation activation,
    double attentionDropout,
    double residualDropout) {

  /**
   * What a layer may have or not.
   *
   * @param inputBias whether queries, keys and values have a bias
   * @param outputBias whether the attention's output has a bias
   * @param mlpBias whether the feed-forward network has biases
   * @param joined whether queries, keys and values are one layer, and gate and up another
   * @param headNorms whether each query and key is normalised before it is turned
   * @param outerNorms whether what joins the residual stream is normalised
   * @param shiftedNorms whether norms multiply by 1 + weight
   */
  record Options(
      boolean inputBias,
      boolean outputBias,
      boolean mlpBias,
      boolean joined,
      boolean headNorms,
      boolean outerNorms,
      boolean shiftedNorms) {}

  int heads() {
    return attention.heads();
  }

  int keyValueHeads() {
    return attention.keyValueHeads();
  }

  int headSize() {
    return rotary.headSize();
  }

  int querySize() {
    return heads() * headSize();
  }

  int keySize() {
    return keyValueHeads() * headSize();
  }
}
