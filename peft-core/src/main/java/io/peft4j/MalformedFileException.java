package io.peft4j;

/** A file or directory that is missing, damaged or not of the format it claims to be. */
public final class MalformedFileException extends PeftException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an error.
   *
   * @param message the file, what was wrong with it and what is allowed
   */
  public MalformedFileException(String message) {
    super(message);
  }

  /**
   * Creates an error that another one caused.
   *
   * @param message the file, what was wrong with it and what is allowed
   * @param cause the error underneath
   */
  public MalformedFileException(String message, Throwable cause) {
    super(message, cause);
  }
}
