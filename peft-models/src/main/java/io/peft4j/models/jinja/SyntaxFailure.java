package io.peft4j.models.jinja;

/** A place where a template is not Jinja. */
final class SyntaxFailure extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int line;

  SyntaxFailure(int line, String message) {
    super(message, null, false, false);
    this.line = line;
  }

  int line() {
    return line;
  }

  /** The message, which is never null. */
  String reason() {
    return String.valueOf(getMessage());
  }
}
