package io.peft4j;

import java.util.Locale;

/**
 * How many values are trained, and how many there are, counted as Hugging Face PEFT counts them:
 * the base's parameters (tied ones once) and those of all adapters.
 *
 * @param trainable values that training changes
 * @param all all values
 */
public record ParameterReport(long trainable, long all) {

  /**
   * The share that is trained.
   *
   * @return percent
   */
  public double percent() {
    return 100.0 * trainable / all;
  }

  /**
   * The line that PEFT's {@code print_trainable_parameters} prints.
   *
   * @return for example {@code trainable params: 294,912 || all params: 109,777,154 || trainable%:
   *     0.2686}
   */
  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "trainable params: %,d || all params: %,d || trainable%%: %.4f",
        trainable,
        all,
        percent());
  }
}
