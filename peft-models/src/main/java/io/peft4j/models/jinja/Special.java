package io.peft4j.models.jinja;

import org.jspecify.annotations.Nullable;

/** An object with attributes that is no Python collection: loops, macros, namespaces. */
interface Special {
  @Nullable Object attribute(String name);

  String typeName();
}
