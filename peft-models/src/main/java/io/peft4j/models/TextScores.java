package io.peft4j.models;

import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.PassSource;
import io.peft4j.torch.Kernel;
import java.util.Arrays;

/** How probable a text is to a causal language model, token by token. */
public final class TextScores {
  /** Most logits that are held at once. */
  private static final int LOGITS = 1 << 25;

  private static final int LEAST_TOKENS = 16;
  private static final int MOST_TOKENS = 512;

  private static final Kernel SCORE =
      Kernel.of(
          "x: Tensor, t: Tensor -> Tensor",
          "return torch.gather(torch.log_softmax(x, -1), -1, torch.unsqueeze(t, -1))");

  private TextScores() {}

  /**
   * The logarithm of each token's probability after those before it. Logits are computed and
   * dropped in pieces: of a large vocabulary, those of a whole text would fill the memory.
   *
   * @param source a base, or a model with adapters for one row
   * @param tokens the text, no longer than the context
   * @return a value for each token but the first
   * @throws InvalidInputException if the model is not a causal language model, or the text is
   *     longer than the context, or has less than two tokens
   * @throws io.peft4j.AdapterStateException if the model or an adapter is closed, or adapters are
   *     chosen for more rows than one
   */
  public static float[] logProbabilities(PassSource source, long[] tokens) {
    int fitting = LOGITS / CausalDecoder.limits(source).vocabulary();
    return logProbabilities(source, tokens, Math.max(LEAST_TOKENS, Math.min(MOST_TOKENS, fitting)));
  }

  static float[] logProbabilities(PassSource source, long[] tokens, int piece) {
    Network.InputLimits limits = CausalDecoder.limits(source);
    if (tokens.length < 2) {
      throw new InvalidInputException(
          "a text needs at least two tokens, as the first is not predicted; given was "
              + tokens.length);
    }
    DecoderPasses.checkTokens(limits, tokens);
    DecoderPasses.checkLength(limits, "text", tokens.length);
    try (DecoderPasses passes = DecoderPasses.open(source, new int[1], 1, tokens.length)) {
      float[] scores = new float[tokens.length - 1];
      int most = passes.textLength().inOnePass() ? scores.length : piece;
      for (int begin = 0; begin < scores.length; begin += most) {
        int end = Math.min(begin + most, scores.length);
        long[] next = Arrays.copyOfRange(tokens, begin + 1, end + 1);
        float[] part =
            passes.forward(
                passes.pass(),
                Arrays.copyOfRange(tokens, begin, end),
                1,
                false,
                (manager, logits) ->
                    SCORE
                        .call(logits, manager.create(next, new Shape(1, next.length)))
                        .toFloatArray());
        System.arraycopy(part, 0, scores, begin, part.length);
      }
      return scores;
    }
  }
}
