package io.peft4j.models.jinja;

import org.jspecify.annotations.Nullable;

/** The one thing a template can write into from within a loop. */
record Namespace(Dict attributes) implements Special {
  static Object create(Engine engine, Arguments arguments) {
    Namespace namespace = new Namespace(new Dict());
    Dict given = Globals.dict(engine, arguments);
    given
        .entries()
        .forEach(entry -> namespace.set(Printer.text(engine, entry.getKey()), entry.getValue()));
    return namespace;
  }

  void set(String name, Object value) {
    if (name.startsWith("_")) {
      throw new Failure("a namespace takes no name that begins with an underscore: '" + name + "'");
    }
    attributes.put(name, value);
  }

  @Override
  public @Nullable Object attribute(String name) {
    return attributes.get(name);
  }

  @Override
  public String typeName() {
    return "Namespace";
  }
}
