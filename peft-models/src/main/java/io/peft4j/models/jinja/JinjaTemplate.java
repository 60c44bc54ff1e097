package io.peft4j.models.jinja;

import io.peft4j.InvalidConfigException;
import java.time.Clock;
import java.util.List;
import java.util.Map;

/**
 * A template of the Jinja language, rendered as transformers renders chat templates.
 *
 * <p>There is all of the language but for loading other templates ({@code include}, {@code import},
 * {@code extends}), {@code recursive} loops, {@code autoescape}, ints beyond 64 bits, and the
 * filters that make web pages. Texts marked by {@code safe} and {@code escape} keep the mark only
 * as far as variables, {@code +} and most text filters go.
 *
 * <p>A template may be hostile. What it can cost is bounded, in time by steps, in memory by
 * characters and elements made, in depth by levels; one that goes beyond fails. No input but the
 * variables can be seen, and none can be changed.
 *
 * <p>Immutable, and safe for use by several threads.
 */
public final class JinjaTemplate {
  private final String name;
  private final List<Statement> body;

  private JinjaTemplate(String name, List<Statement> body) {
    this.name = name;
    this.body = body;
  }

  /**
   * Reads a template.
   *
   * @param name what errors call it, for example a file
   * @param source the template
   * @return the template
   * @throws TemplateException if it is not valid, with the line and what was expected
   */
  public static JinjaTemplate parse(String name, String source) {
    try {
      return new JinjaTemplate(name, Parser.parse(source));
    } catch (SyntaxFailure e) {
      throw new TemplateException(name, e.line(), e.reason(), false);
    } catch (StackOverflowError e) {
      throw new TemplateException(name, 1, "nests too deeply for this thread's stack", false);
    }
  }

  /**
   * Renders.
   *
   * @param variables values by name: null, strings, booleans, numbers, lists, and maps with strings
   *     as keys
   * @param clock what {@code strftime_now} reads
   * @return the text
   * @throws TemplateException if the template fails, gives up by {@code raise_exception}, or takes
   *     too much
   * @throws InvalidConfigException if a variable is of another type
   */
  public String render(Map<String, ?> variables, Clock clock) {
    return renderMarked(variables, clock).text();
  }

  /**
   * What a template has printed.
   *
   * @param text all of it
   * @param marks where {@code generation} blocks begin and end in it, in their order
   */
  public record Rendered(String text, List<int[]> marks) {}

  /**
   * Renders, and says what was printed in {@code generation} blocks. What a macro or a captured
   * block prints is not marked.
   *
   * @param variables as for {@link #render}
   * @param clock what {@code strftime_now} reads
   * @return the text and its marks
   * @throws TemplateException as {@link #render}
   * @throws InvalidConfigException as {@link #render}
   */
  public Rendered renderMarked(Map<String, ?> variables, Clock clock) {
    Engine engine = new Engine(clock);
    Scope scope = new Scope(null);
    variables.forEach((key, value) -> scope.set(key, PlainData.of(key, value)));
    Output out = new Output(engine.budget());
    try {
      engine.run(body, scope, out);
      return new Rendered(out.toString(), List.copyOf(out.marks()));
    } catch (Failure e) {
      throw new TemplateException(name, engine.line(), e.reason(), e.raised());
    } catch (StackOverflowError e) {
      // Generators over generators nest where no level is counted. Nothing native runs here.
      throw new TemplateException(
          name, engine.line(), "nests too deeply for this thread's stack", false);
    }
  }
}
