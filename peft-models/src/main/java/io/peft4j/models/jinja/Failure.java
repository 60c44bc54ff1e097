package io.peft4j.models.jinja;

/** What a template did wrong, before it is known where; {@link JinjaTemplate} adds the place. */
final class Failure extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final boolean raised;

  Failure(String message) {
    this(message, false);
  }

  private Failure(String message, boolean raised) {
    super(message, null, false, false);
    this.raised = raised;
  }

  /** The template itself gave up, by {@code raise_exception}. */
  static Failure raised(String message) {
    return new Failure(message, true);
  }

  boolean raised() {
    return raised;
  }

  /** The message, which is never null. */
  String reason() {
    return String.valueOf(getMessage());
  }
}
