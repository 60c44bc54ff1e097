package io.peft4j;

/** A configuration that cannot be right: a value out of range, a target that matches nothing. */
public final class InvalidConfigException extends PeftException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an error.
   *
   * @param message what was wrong, what is allowed and what was given
   */
  public InvalidConfigException(String message) {
    super(message);
  }
}
