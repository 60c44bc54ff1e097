package io.peft4j.models.generate;

/** When beams are no longer followed ({@code early_stopping}). */
public enum EarlyStopping {
  /**
   * When the best running beam, were it to end at its present length, could not replace the worst
   * of the finished ones; {@code false} in transformers.
   */
  HEURISTIC,
  /** As soon as there are as many finished beams as are followed; {@code true} in transformers. */
  FIRST,
  /**
   * When no running beam can replace a finished one any more, whatever its length; {@code "never"}
   * in transformers.
   */
  NEVER
}
