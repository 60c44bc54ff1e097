package io.peft4j.adapter;

/**
 * The factor on what an adapter adds, {@code scaling} in files.
 *
 * @param kind a number, or something learned
 * @param factor the number; 1, where learning begins, if it is learned
 */
public record Scaling(Kind kind, double factor) {
  /** One learned number. */
  public static final Scaling LEARNED = new Scaling(Kind.LEARNED, 1);

  /** A learned number for each of the hidden values. */
  public static final Scaling CHANNEL = new Scaling(Kind.CHANNEL, 1);

  /** Whether it is learned. */
  public enum Kind {
    /** A number that stays. */
    FIXED,
    /** One learned number. */
    LEARNED,
    /** A learned vector. */
    CHANNEL
  }

  /**
   * A factor that stays.
   *
   * @param factor a finite number
   * @return the scaling
   */
  public static Scaling fixed(double factor) {
    return new Scaling(Kind.FIXED, factor);
  }
}
