package io.peft4j.target;

/**
 * Something a configuration names that does not fit the model: an error for a new configuration, a
 * remark for one that came with a loaded adapter, whose tensors decide.
 *
 * @param kind what is wrong
 * @param field the configuration's field, for example {@code target_modules}
 * @param entry the entry of the field: a name, an expression, a key, an index
 * @param message a sentence for the user that says what to do
 */
public record MatchProblem(Kind kind, String field, String entry, String message) {

  /** What can be wrong. */
  public enum Kind {
    /** The entry matches nothing. */
    UNMATCHED,
    /** The entry matches modules that the method cannot adapt. */
    UNSUPPORTED,
    /** A layer would be adapted inside a module that is trained whole. */
    CONFLICT,
    /** Every layer that is targeted is excluded, or there are no targets. */
    NOTHING_LEFT
  }
}
