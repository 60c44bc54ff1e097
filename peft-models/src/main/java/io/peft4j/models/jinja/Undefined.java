package io.peft4j.models.jinja;

import org.jspecify.annotations.Nullable;

/**
 * What a name or attribute gives that is not there: prints as nothing, is false, is empty, and
 * fails in whatever else is done with it.
 */
final class Undefined {
  private final @Nullable Object owner;
  private final Object name;
  private final @Nullable String hint;

  private Undefined(@Nullable Object owner, Object name, @Nullable String hint) {
    this.owner = owner;
    this.name = name;
    this.hint = hint;
  }

  static Undefined name(String name) {
    return new Undefined(null, name, null);
  }

  static Undefined member(Object owner, Object name) {
    return new Undefined(owner, name, null);
  }

  static Undefined because(String hint) {
    return new Undefined(null, hint, hint);
  }

  /** An attribute that is there but that the sandbox does not hand out. */
  static Undefined unsafe(Object owner, String name) {
    return because(
        "access to attribute '"
            + name
            + "' of '"
            + Values.typeName(owner)
            + "' object is unsafe: templates change no value");
  }

  Failure failure() {
    if (hint != null) {
      return new Failure(hint);
    }
    if (owner == null) {
      return new Failure("'" + name + "' is undefined");
    }
    String what = owner == None.NONE ? "None" : Values.typeName(owner) + " object";
    return new Failure(
        name instanceof String
            ? "'" + what + "' has no attribute " + Printer.shortText(name)
            : what + " has no element " + Printer.shortText(name));
  }
}
