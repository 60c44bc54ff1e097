package io.peft4j.models.jinja;

import io.peft4j.PeftException;
import java.util.Optional;

/** A template that is not valid, that fails while it renders, or that takes too much to render. */
public final class TemplateException extends PeftException {
  private static final long serialVersionUID = 1L;

  private final int line;
  private final String reason;
  private final boolean raised;

  TemplateException(String name, int line, String reason, boolean raised) {
    super(name + ", line " + line + ": " + (raised ? "the template refuses: " : "") + reason);
    this.line = line;
    this.reason = reason;
    this.raised = raised;
  }

  /**
   * Where the template went wrong.
   *
   * @return the line, from 1
   */
  public int line() {
    return line;
  }

  /**
   * What went wrong, without the place.
   *
   * @return the reason; for a template that called {@code raise_exception}, what it said
   */
  public String reason() {
    return reason;
  }

  /**
   * What the template said if it gave up by itself, for example because roles do not alternate.
   *
   * @return the text given to {@code raise_exception}; empty if something else went wrong
   */
  public Optional<String> raised() {
    return raised ? Optional.of(reason) : Optional.empty();
  }
}
