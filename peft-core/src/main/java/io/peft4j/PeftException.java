package io.peft4j;

/**
 * The root of every error this library reports. A message says what was wrong, what is allowed and
 * what was given.
 */
public class PeftException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an error.
   *
   * @param message what was wrong, what is allowed and what was given
   */
  public PeftException(String message) {
    super(message);
  }

  /**
   * Creates an error that another one caused.
   *
   * @param message what was wrong, what is allowed and what was given
   * @param cause the error underneath
   */
  public PeftException(String message, Throwable cause) {
    super(message, cause);
  }
}
