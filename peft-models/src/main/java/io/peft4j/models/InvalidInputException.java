package io.peft4j.models;

import io.peft4j.PeftException;

/** A model was given inputs that it cannot compute with; the model is unharmed. */
public final class InvalidInputException extends PeftException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an error.
   *
   * @param message what was wrong, what is allowed and what was given
   */
  public InvalidInputException(String message) {
    super(message);
  }
}
