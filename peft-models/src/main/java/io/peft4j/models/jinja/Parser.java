package io.peft4j.models.jinja;

import io.peft4j.models.jinja.Statement.Flow;
import io.peft4j.models.jinja.Token.Kind;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads a template's statements. */
final class Parser {
  private static final Set<String> CONSTANTS =
      Set.of("true", "True", "false", "False", "none", "None");
  private static final Set<String> MACRO_EXTRAS = Set.of("caller", "kwargs", "varargs");

  private final TokenStream stream;
  private final ExpressionParser expressions;
  private final Deque<Set<String>> mentions = new ArrayDeque<>();
  private int loops;

  private Parser(List<Token> tokens) {
    stream = new TokenStream(tokens);
    expressions = new ExpressionParser(stream, this::mention);
  }

  static List<Statement> parse(String source) {
    return new Parser(Lexer.tokens(source)).body(1, "");
  }

  private void mention(String name) {
    if (MACRO_EXTRAS.contains(name)) {
      mentions.forEach(names -> names.add(name));
    }
  }

  /**
   * Statements up to one of the end tags, which is left as the current token.
   *
   * @param opened the line of the tag that began this body
   * @param ends no names for the end of the template
   */
  private List<Statement> body(int opened, String tag, String... ends) {
    stream.enter();
    List<Statement> statements = new ArrayList<>();
    while (!stream.at(Kind.END)) {
      Token token = stream.next();
      switch (token.kind()) {
        case DATA -> statements.add(new Statement.Data(token.line(), token.text()));
        case PRINT_BEGIN -> {
          Expression value = expressions.tuple(true, null);
          statements.add(new Statement.Print(token.line(), value));
          stream.expect(Kind.PRINT_END);
        }
        default -> {
          for (String end : ends) {
            if (stream.atName(end)) {
              stream.leave();
              return statements;
            }
          }
          statements.add(statement(token.line(), tag, opened, ends));
          stream.expect(Kind.BLOCK_END);
        }
      }
    }
    if (ends.length > 0) {
      throw stream.expected(wanted(tag, opened, ends));
    }
    stream.leave();
    return statements;
  }

  private static String wanted(String tag, int opened, String... ends) {
    return "'" + String.join("' or '", ends) + "' for the '" + tag + "' of line " + opened;
  }

  /** The rest of an opening tag, the body, and the name of the tag that ends it. */
  private List<Statement> block(int line, String tag, String... ends) {
    stream.skipOperator(":");
    stream.expect(Kind.BLOCK_END);
    return body(line, tag, ends);
  }

  private List<Statement> wholeBlock(int line, String tag) {
    List<Statement> body = block(line, tag, "end" + tag);
    stream.next();
    return body;
  }

  private Statement statement(int line, String around, int opened, String... ends) {
    String tag = stream.at(Kind.NAME) ? stream.next().text() : "";
    return switch (tag) {
      case "" -> throw stream.expected("the name of a tag");
      case "if" -> conditional(line);
      case "for" -> loop(line);
      case "set" -> assignment(line);
      case "macro" -> macro(line);
      case "call" -> callBlock(line);
      case "filter" -> {
        Expression text = new Expression.Name(line, Statement.BODY);
        Expression filters = expressions.filters(expressions.filter(text));
        yield new Statement.FilterBlock(line, filters, outsideLoop(line, tag));
      }
      case "generation" -> new Statement.Generation(line, outsideLoop(line, tag));
      case "block" -> namedBlock(line);
      case "with" -> with(line);
      case "print" ->
          new Statement.Print(
              line, stream.at(Kind.BLOCK_END) ? new Expression.Constant(line, "") : printed(line));
      case "break" -> jump(line, tag, Flow.BREAK);
      case "continue" -> jump(line, tag, Flow.CONTINUE);
      case "include", "import", "from", "extends", "autoescape" ->
          throw new SyntaxFailure(line, "'" + tag + "' is not supported in chat templates");
      default ->
          throw new SyntaxFailure(
              line,
              "unknown tag '"
                  + tag
                  + "'"
                  + (ends.length == 0 ? "" : ", expected " + wanted(around, opened, ends)));
    };
  }

  private Expression printed(int line) {
    List<Expression> parts = new ArrayList<>();
    do {
      parts.add(expressions.expression());
    } while (stream.skipOperator(","));
    return new Expression.Concat(line, parts);
  }

  private Statement jump(int line, String tag, Flow flow) {
    if (loops == 0) {
      throw new SyntaxFailure(line, "'" + tag + "' must stand in a loop");
    }
    return new Statement.Jump(line, flow);
  }

  /** A body that runs by itself: a loop around it is not its own. */
  private List<Statement> outsideLoop(int line, String tag) {
    int before = loops;
    loops = 0;
    List<Statement> body = wholeBlock(line, tag);
    loops = before;
    return body;
  }

  private Statement conditional(int line) {
    List<Expression> tests = new ArrayList<>();
    List<List<Statement>> bodies = new ArrayList<>();
    String tag = "if";
    while (!tag.equals("endif")) {
      boolean otherwise = tag.equals("else");
      tests.add(otherwise ? new Expression.Constant(line, true) : expressions.tuple(false, null));
      bodies.add(
          otherwise ? block(line, "if", "endif") : block(line, "if", "elif", "else", "endif"));
      tag = stream.next().text();
    }
    return new Statement.If(line, tests, bodies);
  }

  private Statement loop(int line) {
    Target target = target(false, "in");
    stream.expectName("in");
    Expression elements = expressions.tuple(false, "recursive");
    Expression test = stream.skipName("if") ? expressions.expression() : null;
    if (stream.atName("recursive")) {
      throw new SyntaxFailure(line, "loops that are 'recursive' are not supported");
    }
    loops++;
    List<Statement> body = block(line, "for", "endfor", "else");
    loops--;
    List<Statement> otherwise =
        stream.next().text().equals("else") ? wholeBlock(line, "for") : List.of();
    return new Statement.For(line, target, elements, test, body, otherwise);
  }

  private Statement assignment(int line) {
    Target target = target(true, null);
    if (stream.skipOperator("=")) {
      return new Statement.Set(line, target, expressions.tuple(true, null));
    }
    Expression filters = expressions.filters(new Expression.Name(line, Statement.BODY));
    return new Statement.SetBlock(line, target, filters, outsideLoop(line, "set"));
  }

  private Target target(boolean namespaces, @Nullable String end) {
    List<Target> targets = new ArrayList<>();
    boolean several = false;
    do {
      if (several && (end == null ? stream.atOperator("=") : stream.atName(end))) {
        break;
      }
      targets.add(singleTarget(namespaces, end));
      several |= stream.atOperator(",");
    } while (stream.skipOperator(","));
    return several ? new Target.Several(targets) : targets.get(0);
  }

  private Target singleTarget(boolean namespaces, @Nullable String end) {
    if (stream.skipOperator("(")) {
      stream.enter();
      Target inner = target(namespaces, end);
      stream.leave();
      stream.expectOperator(")");
      return inner;
    }
    String name = assignable();
    if (namespaces && stream.skipOperator(".")) {
      mention(name);
      return new Target.Member(name, stream.expect(Kind.NAME).text());
    }
    return new Target.Variable(name);
  }

  private String assignable() {
    if (!stream.at(Kind.NAME) || CONSTANTS.contains(stream.current().text())) {
      throw stream.expected("a name to assign to");
    }
    return stream.next().text();
  }

  private Statement macro(int line) {
    String name = assignable();
    Set<String> names = new HashSet<>();
    return new Statement.Define(line, code(line, "macro", name, names, true));
  }

  /** Parameters and body of a macro or call block. */
  private MacroCode code(int line, String tag, String name, Set<String> names, boolean signature) {
    List<String> parameters = new ArrayList<>();
    List<Expression> defaults = new ArrayList<>();
    mentions.push(names);
    if (signature) {
      signature(parameters, defaults);
    }
    List<Statement> body = tag.isEmpty() ? List.of() : outsideLoop(line, tag);
    mentions.pop();
    return new MacroCode(name, parameters, defaults, body, names);
  }

  private void signature(List<String> parameters, List<Expression> defaults) {
    stream.expectOperator("(");
    while (!stream.skipOperator(")")) {
      String parameter = assignable();
      if (parameters.contains(parameter)) {
        throw new SyntaxFailure(stream.line(), "two parameters are named '" + parameter + "'");
      }
      parameters.add(parameter);
      if (stream.skipOperator("=")) {
        defaults.add(expressions.expression());
      } else if (!defaults.isEmpty()) {
        throw stream.expected("a default, as the parameter before '" + parameter + "' has one");
      }
      if (!stream.atOperator(")")) {
        stream.expectOperator(",");
      }
    }
  }

  private Statement callBlock(int line) {
    List<String> parameters = new ArrayList<>();
    List<Expression> defaults = new ArrayList<>();
    if (stream.atOperator("(")) {
      signature(parameters, defaults);
    }
    if (!(expressions.expression() instanceof Expression.Call call)) {
      throw new SyntaxFailure(line, "expected a call after 'call'");
    }
    MacroCode body = code(line, "call", "caller", new HashSet<>(), false);
    return new Statement.CallBlock(
        line, call, new MacroCode(body.name(), parameters, defaults, body.body(), body.mentions()));
  }

  private Statement namedBlock(int line) {
    String name = stream.expect(Kind.NAME).text();
    stream.skipName("scoped");
    List<Statement> body = outsideLoop(line, "block");
    stream.skipName(name);
    return new Statement.With(line, List.of(), List.of(), body);
  }

  private Statement with(int line) {
    List<Target> targets = new ArrayList<>();
    List<Expression> values = new ArrayList<>();
    while (!stream.at(Kind.BLOCK_END)) {
      if (!targets.isEmpty()) {
        stream.expectOperator(",");
      }
      targets.add(target(false, null));
      stream.expectOperator("=");
      values.add(expressions.expression());
    }
    return new Statement.With(line, targets, values, wholeBlock(line, "with"));
  }
}
