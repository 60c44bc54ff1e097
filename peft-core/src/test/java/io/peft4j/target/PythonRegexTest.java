package io.peft4j.target;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import java.util.List;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Each line was tried with Python 3.11: the text that {@code re.fullmatch} takes, and one it does
 * not.
 */
final class PythonRegexTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = ' ',
      value = {
        "(?P<layer_name>a|b)\\.(?P=layer_name) a.a a.b",
        "(a)(b)\\2 abb aba",
        "(a)\\1(?:)0 aa0 a10",
        "q_proj\\Z q_proj q_projx",
        "\\Aq_proj q_proj xq_proj",
        "q{,2} qq qqq",
        "q{1,2} q qqq",
        "q{x} q{x} qx",
        "{q} {q} q",
        "[[] [ x",
        "[]x] ] y",
        "[a&&b] & c",
        "[a^] ^ b",
        "[^]] a ]",
        "\\x71\\u005fp q_p q-p",
        "\\U00000071 q p",
        "\\101 A 101",
        "\\d\\w 1_ 11_",
        "(?i)Q_proj q_PROJ k_proj",
        "(?s:a.) ab a",
        "(?i:Q)p qp QP",
        "q(?#query)p qp qup",
        "(?:q|k)_(?!x).* q_proj q_xyz",
        "(?>ab|a)c? abc aab",
        "a++b aab ab+",
        ".*(?<=_)proj q_proj qproj",
        "[\\w.]+ a.b a-b",
        "a|b a ab",
        "\\. . x",
        "a\\-b a-b ab",
      })
  void matchesAsInPython(String expression, String taken, String refused) {
    Pattern pattern = PythonRegex.compile("field", expression, expression);
    assertTrue(pattern.matcher(taken).matches(), taken);
    assertFalse(pattern.matcher(refused).matches(), refused);
  }

  @Test
  void dotAndDollarKnowOnlyPythonsLineBreak() {
    Pattern dot = PythonRegex.compile("field", ".", ".");
    assertTrue(dot.matcher("\r").matches());
    assertFalse(dot.matcher("\n").matches());
    Pattern end = PythonRegex.compile("field", "a$", "a$");
    assertTrue(end.matcher("a\n").lookingAt());
    assertFalse(end.matcher("a\r").lookingAt());
    assertFalse(PythonRegex.compile("field", "a\\Z", "a\\Z").matcher("a\n").lookingAt());
  }

  @Test
  void classesAreUnicodes() {
    assertTrue(PythonRegex.compile("field", "\\d", "\\d").matcher("\u0663").matches());
    assertFalse(PythonRegex.compile("field", "(?a)\\d", "(?a)\\d").matcher("\u0663").matches());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '~',
      value = {
        "(q_proj~Unclosed group",
        "q_proj)~Unmatched closing ')'",
        "*q~nothing that * could repeat stands before it. For any characters write .*",
        "a|+~nothing that + could repeat stands before it",
        "^*~nothing that * could repeat stands before it",
        "a**~something already repeated that * could repeat stands before it",
        "a{2}{3}~something already repeated that {3} could repeat",
        "[a~the [ at position 0 is not closed",
        "q\\~ends with a single backslash",
        "\\q~\\q has no meaning",
        "\\p{L}~\\p has no meaning",
        "\\x1~\\x needs 2 hexadecimal digits",
        "[\\Z]~\\Z has no meaning inside [ ]",
        "a\\1~\\1 refers to a group that is not there",
        "(?<n>a)~a named group is written (?P<name>...)",
        "(?P<1>a)~the name of a group must be letters, digits and _",
        "(?P<n>a)(?P<n>b)~two groups are named n",
        "(?P=n)~no group before (?P=n) has that name",
        "(a)(?(1)b|c)~conditions, (?(group)...), are not supported",
        "(?x)a b~(?x is not supported",
        "a(?i)~must stand at its start",
        "(?#a~a comment (?# is not closed",
        "(?i~a group (? is not closed",
      })
  void refusesWhatPythonRefusesOrJavaCannot(String expression, String why) {
    InvalidConfigException e =
        assertThrows(
            InvalidConfigException.class,
            () -> PythonRegex.compile("rank_pattern key", expression, expression));
    String start =
        "rank_pattern key '"
            + expression
            + "' is not a valid regular expression (in Python's syntax): ";
    assertTrue(e.getMessage().startsWith(start), e.getMessage());
    assertTrue(e.getMessage().substring(start.length()).contains(why), e.getMessage());
  }

  @Test
  void targetsRefuseInvalidValues() {
    assertThrows(InvalidConfigException.class, () -> Targets.expression("*.q_proj"));
    assertThrows(InvalidConfigException.class, () -> Targets.expression(""));
    assertThrows(InvalidConfigException.class, () -> Targets.names("q_proj", ""));
  }

  @Test
  void targetsReadAndWriteJsonValues() {
    assertEquals(Targets.allLinear(), Targets.parse("ALL-Linear"));
    assertEquals("all-linear", Targets.parse("All-linear").jsonValue());
    assertEquals(Targets.expression(".*q"), Targets.parse(".*q"));
    assertEquals(".*q", Targets.parse(".*q").jsonValue());
    assertEquals(List.of("v", "q"), Targets.names("v", "q", "v").jsonValue(), "order, no doubles");
  }
}
