package io.peft4j.models.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.state.Json;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.StringLength;

/** Whatever the template, there is a text or one of our errors. */
class JinjaPropertyTest {
  private static final Map<String, ?> VARIABLES =
      Map.of("a", List.of(1, 2, "x"), "b", Map.of("k", "v", "n", 3), "s", "Some text", "n", 5);

  private static final String[] PIECES = {
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "{%-",
    "-%}",
    "{{-",
    "-}}",
    "\n",
    " ",
    " text ",
    "'x'",
    "\"y\"",
    "1",
    "2.5",
    "-3",
    "a",
    "b",
    "s",
    "n",
    "missing",
    ".k",
    "[0]",
    "[1:]",
    "[::-1]",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "|",
    "~",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "==",
    "<",
    ">=",
    "=",
    " in ",
    " not ",
    " and ",
    " or ",
    " is ",
    " if ",
    " else ",
    " defined ",
    " string ",
    " upper ",
    " join ",
    " tojson ",
    " map ",
    " select ",
    " list ",
    " length ",
    " default ",
    " int ",
    " sort ",
    "{% for x in a %}",
    "{% endfor %}",
    "{% if n %}",
    "{% elif s %}",
    "{% else %}",
    "{% endif %}",
    "{% set x = ",
    "{% set x %}",
    "{% endset %}",
    "{% macro f(x, y=1) %}",
    "{% endmacro %}",
    "f(1)",
    "loop.index",
    "loop.last",
    "{% break %}",
    "{% continue %}",
    "{% raw %}",
    "{% endraw %}",
    "{{ s }}",
    ".split()",
    ".strip()",
    ".items()",
    "range(3)",
    "namespace(x=1)",
    "😀",
    "\\",
    "'",
    "\"",
    "\u0000"
  };

  private static final String[] VALUES = {
    "1",
    "0",
    "-7",
    "2.5",
    "'x'",
    "''",
    "'a b'",
    "none",
    "true",
    "a",
    "b",
    "s",
    "n",
    "missing",
    "[]",
    "[3, 1]",
    "(1,)",
    "{}",
    "{'k': 1}",
    "range(4)",
    "loop",
    "b.items()",
    "a|map('string')",
    "'<'|e"
  };

  @Provide
  Arbitrary<String> templates() {
    return Arbitraries.of(PIECES).list().ofMaxSize(40).map(pieces -> String.join("", pieces));
  }

  /** Expressions that are valid, though they may make no sense. */
  @Provide
  Arbitrary<String> expressions() {
    Arbitrary<String> values = Arbitraries.of(VALUES);
    Arbitrary<String> operators =
        Arbitraries.of("+", "-", "*", "/", "//", "%", "**", "~", "==", "<", ">=", " in ", " and ");
    Arbitrary<String> filters =
        Arbitraries.of(Filters.names().split(", "))
            .flatMap(
                name ->
                    values
                        .map(value -> name + "(" + value + ")")
                        .optional(0.5)
                        .map(call -> call.orElse(name)));
    return net.jqwik.api.Combinators.combine(values, operators, values, filters, filters)
        .as((x, operator, y, f, g) -> "{{ (" + x + operator + y + ")|" + f + "|" + g + " }}");
  }

  @Property(tries = 2000)
  void piecesOfTemplatesRenderOrFail(@ForAll("templates") String source) {
    renderOrFail(source);
  }

  @Property(tries = 4000)
  void expressionsRenderOrFail(@ForAll("expressions") String source) {
    renderOrFail(source);
  }

  @Property(tries = 500)
  void anyTextRendersOrFails(@ForAll @StringLength(max = 60) String source) {
    renderOrFail(source);
  }

  private static void renderOrFail(String source) {
    assertTimeoutPreemptively(
        Duration.ofSeconds(20),
        () -> {
          try {
            JinjaTemplate.parse("t", source).render(VARIABLES, Clock.systemUTC());
          } catch (TemplateException e) {
            assertTrue(e.line() >= 1 && !e.reason().isEmpty(), e.toString());
          }
        });
  }

  @Property(tries = 500)
  void textsComeThroughJson(@ForAll String text) {
    String json =
        JinjaTemplate.parse("t", "{{ text | tojson }}")
            .render(Map.of("text", text), Clock.systemUTC());

    assertEquals(text, Json.parse(json, "t").textValue());
  }

  @Property(tries = 500)
  void textsArePrintedAsTheyAre(@ForAll String text) {
    String out =
        JinjaTemplate.parse("t", "[{{ text }}]").render(Map.of("text", text), Clock.systemUTC());

    assertEquals("[" + text + "]", out);
  }
}
