package io.peft4j.target;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.peft4j.InvalidConfigException;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;

/**
 * What {@code target_modules} and {@code exclude_modules} can hold: a list of names, a regular
 * expression, or {@code all-linear}. Immutable. A configuration that leaves the choice to the
 * model's architecture has none of these.
 */
public sealed interface Targets permits Targets.Names, Targets.Expression, Targets.AllLinear {
  /** How {@code all-linear} is written in a configuration. */
  String ALL_LINEAR = "all-linear";

  /**
   * Names, each of which selects the module of exactly that path and every module whose path ends
   * with a dot and that name. A name is never a regular expression.
   *
   * @param names the names in the order given, without duplicates; may be empty
   */
  record Names(List<String> names) implements Targets {
    /**
     * Checks the names and drops duplicates.
     *
     * @throws InvalidConfigException if a name is empty
     */
    public Names {
      names = List.copyOf(new LinkedHashSet<>(names));
      if (names.contains("")) {
        throw new InvalidConfigException(
            "a list of modules holds an empty name; give names such as q_proj, got " + names);
      }
    }

    @Override
    public Object jsonValue() {
      return names;
    }
  }

  /**
   * A regular expression of Python's {@code re} module that must match a whole path.
   *
   * @param expression the expression in Python's syntax
   */
  record Expression(String expression) implements Targets {
    /**
     * Checks the expression.
     *
     * @throws InvalidConfigException if it is empty or no valid expression
     */
    public Expression {
      if (expression.isEmpty()) {
        throw new InvalidConfigException(
            "an empty string selects no modules; give a regular expression that matches whole"
                + " paths, a list of names, or "
                + ALL_LINEAR);
      }
      PythonRegex.compile("the expression", expression, expression);
    }

    @Override
    public Object jsonValue() {
      return expression;
    }
  }

  /** Every linear layer but the one that gives the logits, and but the head of a classifier. */
  record AllLinear() implements Targets {
    @Override
    public Object jsonValue() {
      return ALL_LINEAR;
    }
  }

  /**
   * The value as it stands in {@code adapter_config.json}.
   *
   * @return a {@code List<String>} for names, else a {@code String}
   */
  Object jsonValue();

  /**
   * {@link #jsonValue} as a node of its own.
   *
   * @return an array of texts, or a text
   */
  default JsonNode json() {
    if (this instanceof Names list) {
      ArrayNode array = JsonNodeFactory.instance.arrayNode();
      list.names().forEach(array::add);
      return array;
    }
    return JsonNodeFactory.instance.textNode(jsonValue().toString());
  }

  /**
   * Selects by names.
   *
   * @param names paths or ends of paths, such as {@code q_proj} or {@code self_attn.q_proj}
   * @return the value
   * @throws InvalidConfigException if a name is empty
   */
  static Targets names(String... names) {
    return new Names(Arrays.asList(names));
  }

  /**
   * Selects by names.
   *
   * @param names paths or ends of paths, such as {@code q_proj} or {@code self_attn.q_proj}
   * @return the value
   * @throws InvalidConfigException if a name is empty
   */
  static Targets names(Collection<String> names) {
    return new Names(List.copyOf(names));
  }

  /**
   * Selects by a regular expression.
   *
   * @param expression in Python's syntax; must match a whole path
   * @return the value
   * @throws InvalidConfigException if it is empty or not valid
   */
  static Targets expression(String expression) {
    return new Expression(expression);
  }

  /**
   * Selects the linear layers.
   *
   * @return the value
   */
  static Targets allLinear() {
    return new AllLinear();
  }

  /**
   * Reads a string as {@code target_modules} reads it.
   *
   * @param text {@code all-linear} in upper or lower case, else a regular expression
   * @return the value
   * @throws InvalidConfigException if it is neither
   */
  static Targets parse(String text) {
    return text.toLowerCase(Locale.ROOT).equals(ALL_LINEAR) ? allLinear() : expression(text);
  }
}
