package io.peft4j.models;

/**
 * A causal language model computing token by token, by whatever engine: it has read some prompts,
 * knows the logits of what comes next, and is told what does. Each prompt may be continued in
 * several ways at once: sequence i continues prompt i / copies. Used by one thread at a time; the
 * caller closes it.
 */
public interface TokenDecoder extends AutoCloseable {

  /**
   * The size of the vocabulary.
   *
   * @return the number of logits of a sequence
   */
  int vocabulary();

  /**
   * The number of sequences.
   *
   * @return prompts · copies
   */
  int sequences();

  /**
   * The most probable next token of each sequence.
   *
   * @return a token for each sequence
   */
  long[] best();

  /**
   * Copies the logits of what comes next.
   *
   * @param sequence number of the sequence
   * @param target takes {@link #vocabulary} values
   */
  void logits(int sequence, float[] target);

  /**
   * Copies the logarithms of the probabilities of what comes next, log_softmax(logits).
   *
   * @param sequence number of the sequence
   * @param target takes {@link #vocabulary} values
   */
  void logProbabilities(int sequence, float[] target);

  /**
   * Goes on by one token in each sequence.
   *
   * @param tokens a token for each sequence; of those that have ended any token will do
   * @throws InvalidInputException if a token is not in the vocabulary, the number is wrong, or all
   *     sequences have reached the end of the model's context
   */
  void step(long[] tokens);

  /**
   * Makes each sequence go on from where another of the same prompt is. The logits stay as they
   * are.
   *
   * @param from the sequence that each sequence becomes
   * @throws InvalidInputException if one is of another prompt
   */
  void reorder(int[] from);

  @Override
  void close();
}
