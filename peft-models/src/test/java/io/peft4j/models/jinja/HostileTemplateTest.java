package io.peft4j.models.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Templates that loop, grow, nest, or are no templates end in one clear error, and soon. */
class HostileTemplateTest {
  private static final String REPEAT = "{% for a in range(99999) %}";

  private static String render(String source, Map<String, ?> variables) {
    return JinjaTemplate.parse("t.jinja", source).render(variables, Clock.systemUTC());
  }

  private static TemplateException fails(String source) {
    return assertTimeoutPreemptively(
        Duration.ofSeconds(20),
        () -> assertThrows(TemplateException.class, () -> render(source, Map.of("n", 7))));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        REPEAT + "{% for b in range(99999) %}{% endfor %}{% endfor %}",
        REPEAT + REPEAT + "x{% endfor %}{% endfor %}",
        REPEAT + "{% set x = 'a' * 9999999 %}{% endfor %}",
        REPEAT + "{% set x = ('a' * 9999999) is lower %}{% endfor %}",
        REPEAT + "{% set x = [0] * 99999 %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}" + REPEAT + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}"
            + REPEAT
            + "{% set ns.x = ns.x.join(ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}"
            + REPEAT
            + "{% set ns.x = ns.x.replace('', 'ab') %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}" + REPEAT + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}"
            + "{% for a in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}"
            + "{% for a in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
        "{% set ns = namespace(x=[1], y=[1]) %}"
            + "{% for a in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}"
            + "{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(x=(1,)) %}"
            + "{% for a in range(99) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
        "{% set ns = namespace(x=[1]) %}"
            + REPEAT
            + "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}"
            + REPEAT
            + "{% set ns.x = ns.x | map('abs') %}{% endfor %}{{ ns.x | list }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{{ 'a' * 99999999999 }}",
        "{{ [1] * 99999999999 }}",
        "{{ '%99999999d' % 1 }}",
        "{{ '%999999999999d' % 1 }}",
        "{{ '{:99999999}'.format(1) }}",
        "{{ 'a'.center(99999999999) }}",
        "{{ 'a' | indent(99999999999) }}",
        "{{ [1] | tojson(indent=99999999999) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) | list }}",
        "{{ range(0, 9223372036854775807, 9223372036854775806)[5:1:-9223372036854775807] }}x{{ 1/0 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 2 ** 2 ** 99 }}",
        "{{ 1.5 | round(999999999) }}",
        "{{ '1e999999999' | float | int }}{{ 1 / 0 }}",
      })
  void endsInAnError(String source) {
    String message = String.valueOf(fails(source).getMessage());

    assertTrue(message.startsWith("t.jinja, line 1: "), message);
    assertTrue(message.length() < 600, message);
  }

  @Test
  void deepNestingIsRefused() {
    for (String source :
        List.of(
            "{{ " + "(".repeat(5000) + "1" + ")".repeat(5000) + " }}",
            "{{ " + "[".repeat(5000) + "]".repeat(5000) + " }}",
            "{{ " + "not ".repeat(5000) + "1 }}",
            "{{ " + "-".repeat(50) + "- ".repeat(5000) + "1 }}",
            "{{ 1" + " + 1".repeat(5000) + " }}",
            "{{ 1" + " | abs".repeat(5000) + " }}",
            "{{ n" + ".n".repeat(5000) + " }}",
            "{{ 1" + " if 1 else 1".repeat(5000) + " }}",
            "{% set " + "(".repeat(5000) + "a" + ")".repeat(5000) + " = 1 %}",
            "{% if 1 %}".repeat(5000) + "{% endif %}".repeat(5000),
            "{% for a in [1] %}".repeat(5000) + "{% endfor %}".repeat(5000))) {
      String message = String.valueOf(fails(source).getMessage());

      assertTrue(message.contains("nests deeper than"), message);
    }
  }

  @Test
  void saysWhereAndWhat() {
    assertEquals("t.jinja, line 3: unexpected '}'", fails("a\nb\n{% if n }}").getMessage());
    assertEquals(
        "expected 'elif' or 'else' or 'endif' for the 'if' of line 2, got the end of the template",
        fails("a\n{% if n %}\nb\n").reason());
    assertEquals(4, fails("a\n{% if n %}\nb\n{{ n.a.b }}\n{% endif %}").line());
    TemplateException raised = fails("\n{{ raise_exception('Roles must alternate') }}");
    assertEquals("Roles must alternate", raised.raised().orElseThrow());
    assertEquals(2, raised.line());
    assertTrue(fails("{{ n.a.b }}").raised().isEmpty());
  }

  @Test
  void unknownFiltersAreNamed() {
    String message = String.valueOf(fails("{{ n | shout }}").getMessage());

    assertTrue(message.contains("'shout'") && message.contains("tojson"), message);
  }

  @Test
  void variablesMustBePlain() {
    String plain = "{{ n }}";

    assertEquals(
        "[1, 2.5, 'a', None, True]",
        render(plain, Map.of("n", java.util.Arrays.asList((byte) 1, 2.5f, "a", null, true))));
    assertThrows(InvalidConfigException.class, () -> render(plain, Map.of("n", new Object())));
    assertThrows(InvalidConfigException.class, () -> render(plain, Map.of("n", Map.of(1, 2))));
    List<Object> loop = new java.util.ArrayList<>();
    loop.add(loop);
    assertThrows(InvalidConfigException.class, () -> render(plain, Map.of("n", loop)));
  }

  @Test
  void variablesAreNotChanged() {
    Map<String, Object> inner = new java.util.HashMap<>(Map.of("a", 1));

    render("{% set n = {'b': 2} %}{% set a = n %}{{ n }}", Map.of("n", inner));

    assertEquals(Map.of("a", 1), inner);
  }
}
