package io.peft4j;

/**
 * A call that does not fit the state of the model or adapter: an unknown adapter name, merging
 * while another model is open over the same base, use after close, tensors that do not fit the
 * model.
 */
public final class AdapterStateException extends PeftException {
  private static final long serialVersionUID = 1L;

  /**
   * Creates an error.
   *
   * @param message what was asked, and why it cannot be done now
   */
  public AdapterStateException(String message) {
    super(message);
  }

  /**
   * Creates an error that another led to.
   *
   * @param message what was asked, and why it cannot be done now
   * @param cause the other
   */
  public AdapterStateException(String message, Throwable cause) {
    super(message, cause);
  }
}
