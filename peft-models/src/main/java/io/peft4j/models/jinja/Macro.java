package io.peft4j.models.jinja;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A macro together with the variables it can see. */
record Macro(MacroCode code, Scope home) implements Function, Special {
  @Override
  public Object call(Engine engine, Arguments arguments) {
    Scope scope = new Scope(home);
    List<String> parameters = code.parameters();
    List<Object> positional = arguments.positional();
    Map<String, Object> rest = new LinkedHashMap<>(arguments.named());
    int firstDefault = parameters.size() - code.defaults().size();
    for (int i = 0; i < parameters.size(); i++) {
      String name = parameters.get(i);
      Object value = i < positional.size() ? positional.get(i) : rest.remove(name);
      if (value == null) {
        value =
            i < firstDefault
                ? Undefined.because("parameter '" + name + "' was not provided")
                : engine.value(code.defaults().get(i - firstDefault), scope);
      }
      scope.set(name, value);
    }
    if (code.mentions().contains("caller") && !parameters.contains("caller")) {
      Object caller = rest.remove("caller");
      scope.set("caller", caller == null ? Undefined.because("no caller defined") : caller);
    }
    if (code.mentions().contains("kwargs")) {
      Dict named = new Dict();
      rest.forEach(named::put);
      scope.set("kwargs", named);
    } else if (!rest.isEmpty()) {
      throw new Failure(
          "macro '"
              + code.name()
              + "' takes no argument '"
              + rest.keySet().iterator().next()
              + "'");
    }
    int surplus = Math.max(0, positional.size() - parameters.size());
    if (code.mentions().contains("varargs")) {
      List<Object> more = positional.subList(positional.size() - surplus, positional.size());
      scope.set("varargs", new Tuple(List.copyOf(more)));
    } else if (surplus > 0) {
      throw new Failure(
          "macro '" + code.name() + "' takes at most " + parameters.size() + " arguments");
    }
    Output out = new Output(engine.budget());
    engine.run(code.body(), scope, out);
    return out.toString();
  }

  @Override
  public @Nullable Object attribute(String name) {
    return switch (name) {
      case "name" -> code.name();
      case "arguments" -> new Tuple(List.copyOf(code.parameters()));
      case "catch_kwargs" -> code.mentions().contains("kwargs");
      case "catch_varargs" -> code.mentions().contains("varargs");
      case "caller" -> code.mentions().contains("caller");
      default -> null;
    };
  }

  @Override
  public String typeName() {
    return "Macro";
  }
}
