package io.peft4j.models.jinja;

/** Whatever a template can call. */
@FunctionalInterface
interface Function {
  Object call(Engine engine, Arguments arguments);
}
