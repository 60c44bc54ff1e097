package io.peft4j.qlora;

import io.peft4j.InvalidConfigException;
import java.util.Locale;
import java.util.Optional;

/**
 * What a new adapter over a base that is being quantized begins with. Where that is what
 * quantization has lost, W − unpacked(W), A and B are the product of the wanted rank that is
 * closest to it, s·B·A, and the 4 bits stay as they are: what is saved is plain LoRA, and with the
 * base in 4 bits it computes from the first step nearly what the dense base computes.
 *
 * @param kind the rule
 * @param iterations power iterations of the randomized singular value decomposition; 0 for the
 *     exact one
 */
public record QloraInitialization(Kind kind, int iterations) {

  /** The rules. */
  public enum Kind {
    /** As the LoRA configuration says. */
    LORA,
    /**
     * LoftQ with one iteration (Li et al. 2023): the exact decomposition of what was lost. Hugging
     * Face PEFT leaves s out of the product, which is the same where alpha is the rank; here s·B·A
     * is closest whatever s is.
     */
    LOFTQ,
    /** As PiSSA (Meng et al. 2024) finds factors, of what was lost. */
    PISSA
  }

  /** As the LoRA configuration says. */
  public static final QloraInitialization LORA = new QloraInitialization(Kind.LORA, 0);

  /** LoftQ with one iteration. */
  public static final QloraInitialization LOFTQ = new QloraInitialization(Kind.LOFTQ, 0);

  private static final String PISSA_ITERATIONS = "pissa_niter_";

  /**
   * Checks.
   *
   * @throws InvalidConfigException if there are iterations where nothing is iterated, or fewer than
   *     none
   */
  public QloraInitialization {
    if (iterations < 0 || (iterations > 0 && kind != Kind.PISSA)) {
      throw new InvalidConfigException(
          kind
              + (kind == Kind.PISSA ? " takes 0 or more" : " takes no")
              + " power iterations; given were "
              + iterations);
    }
  }

  /**
   * PiSSA's factors of what was lost, by a randomized decomposition: much faster for large layers.
   *
   * @param iterations power iterations, at least 1; 0 for the exact decomposition
   * @return the rule
   * @throws InvalidConfigException if they are negative
   */
  public static QloraInitialization pissa(int iterations) {
    return new QloraInitialization(Kind.PISSA, iterations);
  }

  /**
   * Tells whether an adapter begins with what quantization has lost.
   *
   * @return false for what the LoRA configuration says
   */
  public boolean fitsError() {
    return kind != Kind.LORA;
  }

  /** The value of {@code init_lora_weights}. */
  String key() {
    String name = kind.name().toLowerCase(Locale.ROOT);
    return iterations == 0 ? name : PISSA_ITERATIONS + iterations;
  }

  /** Reads {@code init_lora_weights}; empty for a rule that is LoRA's own. */
  static Optional<QloraInitialization> parse(String given) {
    String text = given.toLowerCase(Locale.ROOT);
    if (text.startsWith(PISSA_ITERATIONS)) {
      try {
        return Optional.of(pissa(Integer.parseInt(text.substring(PISSA_ITERATIONS.length()))));
      } catch (NumberFormatException e) {
        return Optional.empty();
      }
    }
    return switch (text) {
      case "loftq" -> Optional.of(LOFTQ);
      case "pissa" -> Optional.of(pissa(0));
      default -> Optional.empty();
    };
  }
}
