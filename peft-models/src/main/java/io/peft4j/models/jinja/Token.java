package io.peft4j.models.jinja;

/**
 * A piece of a template.
 *
 * @param line where it begins, from 1
 * @param text what it says: a string without its quotes and escapes, a number's digits, an operator
 */
record Token(int line, Kind kind, String text) {
  enum Kind {
    DATA("text"),
    PRINT_BEGIN("'{{'"),
    PRINT_END("'}}'"),
    BLOCK_BEGIN("'{%'"),
    BLOCK_END("'%}'"),
    NAME("a name"),
    STRING("a string"),
    INTEGER("a number"),
    FLOAT("a number"),
    OPERATOR("an operator"),
    END("the end of the template");

    private final String label;

    Kind(String label) {
      this.label = label;
    }

    String label() {
      return label;
    }
  }

  boolean is(String operator) {
    return kind == Kind.OPERATOR && text.equals(operator);
  }

  boolean isName(String name) {
    return kind == Kind.NAME && text.equals(name);
  }

  /** What error messages call it. */
  String describe() {
    return switch (kind) {
      case NAME, OPERATOR -> "'" + text + "'";
      case INTEGER, FLOAT -> "the number " + text;
      default -> kind.label();
    };
  }
}
