package io.peft4j.models.jinja;

import io.peft4j.models.jinja.Expression.Given;
import io.peft4j.models.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Reads expressions. From loose to tight: {@code if else}, {@code or}, {@code and}, {@code not},
 * comparisons, {@code + -}, {@code ~}, {@code * / // %}, {@code **}, signs, then members, calls,
 * filters and tests, which follow the value they belong to.
 */
final class ExpressionParser {
  private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

  private final TokenStream stream;
  private final Consumer<String> mention;

  /** Creates a parser; {@code mention} is told every name that an expression speaks of. */
  ExpressionParser(TokenStream stream, Consumer<String> mention) {
    this.stream = stream;
    this.mention = mention;
  }

  Expression expression() {
    stream.enter();
    int line = stream.line();
    Expression value = or();
    while (stream.skipName("if")) {
      Expression test = or();
      Expression otherwise = stream.skipName("else") ? expression() : null;
      value = new Expression.Conditional(line, test, value, otherwise);
    }
    stream.leave();
    return value;
  }

  /** One expression, or a tuple of several without parentheses. */
  Expression tuple(boolean conditional, @Nullable String end) {
    return tuple(conditional, end, false);
  }

  private Expression tuple(boolean conditional, @Nullable String end, boolean mayBeEmpty) {
    int line = stream.line();
    List<Expression> items = new ArrayList<>();
    boolean several = false;
    while (!endsTuple(end)) {
      items.add(conditional ? expression() : or());
      if (!stream.skipOperator(",")) {
        break;
      }
      several = true;
    }
    if (items.size() == 1 && !several) {
      return items.get(0);
    }
    if (items.isEmpty() && !mayBeEmpty) {
      throw stream.expected("an expression");
    }
    return new Expression.Sequence(line, items, true);
  }

  private boolean endsTuple(@Nullable String end) {
    return stream.at(Kind.PRINT_END)
        || stream.at(Kind.BLOCK_END)
        || stream.atOperator(")")
        || end != null && stream.atName(end);
  }

  private Expression or() {
    int line = stream.line();
    Expression left = and();
    while (stream.skipName("or")) {
      left = new Expression.Logic(line, false, left, and());
    }
    return left;
  }

  private Expression and() {
    int line = stream.line();
    Expression left = not();
    while (stream.skipName("and")) {
      left = new Expression.Logic(line, true, left, not());
    }
    return left;
  }

  private Expression not() {
    int line = stream.line();
    if (!stream.skipName("not")) {
      return comparison();
    }
    stream.enter();
    Expression operand = not();
    stream.leave();
    return new Expression.Not(line, operand);
  }

  private Expression comparison() {
    int line = stream.line();
    Expression first = sum();
    List<String> operators = new ArrayList<>();
    List<Expression> others = new ArrayList<>();
    while (true) {
      if (stream.at(Kind.OPERATOR) && COMPARISONS.contains(stream.current().text())) {
        operators.add(stream.next().text());
      } else if (stream.skipName("in")) {
        operators.add("in");
      } else if (stream.atName("not") && stream.following().isName("in")) {
        stream.next();
        stream.next();
        operators.add("not in");
      } else {
        break;
      }
      others.add(sum());
    }
    return operators.isEmpty() ? first : new Expression.Compare(line, first, operators, others);
  }

  private Expression sum() {
    int line = stream.line();
    Expression left = concatenation();
    while (stream.atOperator("+") || stream.atOperator("-")) {
      String operator = stream.next().text();
      left = new Expression.Binary(line, operator, left, concatenation());
    }
    return left;
  }

  private Expression concatenation() {
    int line = stream.line();
    List<Expression> parts = new ArrayList<>();
    do {
      parts.add(product());
    } while (stream.skipOperator("~"));
    return parts.size() == 1 ? parts.get(0) : new Expression.Concat(line, parts);
  }

  private Expression product() {
    int line = stream.line();
    Expression left = power();
    while (stream.atOperator("*")
        || stream.atOperator("/")
        || stream.atOperator("//")
        || stream.atOperator("%")) {
      String operator = stream.next().text();
      left = new Expression.Binary(line, operator, left, power());
    }
    return left;
  }

  private Expression power() {
    int line = stream.line();
    Expression left = signed(true);
    while (stream.skipOperator("**")) {
      left = new Expression.Binary(line, "**", left, signed(true));
    }
    return left;
  }

  private Expression signed(boolean filtered) {
    int line = stream.line();
    Expression value;
    if (stream.atOperator("-") || stream.atOperator("+")) {
      boolean negative = stream.next().text().equals("-");
      stream.enter();
      value = new Expression.Sign(line, negative, signed(false));
      stream.leave();
    } else {
      value = primary();
    }
    value = members(value);
    return filtered ? filtersAndTests(value) : value;
  }

  private Expression primary() {
    int line = stream.line();
    return switch (stream.current().kind()) {
      case NAME -> named(stream.next());
      case STRING -> {
        StringBuilder text = new StringBuilder();
        while (stream.at(Kind.STRING)) {
          text.append(stream.next().text());
        }
        yield new Expression.Constant(line, text.toString());
      }
      case INTEGER -> constant(stream.next());
      case FLOAT -> new Expression.Constant(line, Double.valueOf(stream.next().text()));
      default -> {
        if (stream.skipOperator("(")) {
          Expression inner = tuple(true, null, true);
          stream.expectOperator(")");
          yield inner;
        }
        if (stream.skipOperator("[")) {
          yield list(line);
        }
        if (stream.skipOperator("{")) {
          yield dict(line);
        }
        throw stream.expected("an expression");
      }
    };
  }

  private Expression named(Token token) {
    int line = token.line();
    return switch (token.text()) {
      case "true", "True" -> new Expression.Constant(line, true);
      case "false", "False" -> new Expression.Constant(line, false);
      case "none", "None" -> new Expression.Constant(line, None.NONE);
      default -> {
        mention.accept(token.text());
        yield new Expression.Name(line, token.text());
      }
    };
  }

  private Expression list(int line) {
    List<Expression> items = new ArrayList<>();
    while (!stream.skipOperator("]")) {
      items.add(expression());
      if (!stream.atOperator("]")) {
        stream.expectOperator(",");
      }
    }
    return new Expression.Sequence(line, items, false);
  }

  private Expression dict(int line) {
    List<Expression> keys = new ArrayList<>();
    List<Expression> values = new ArrayList<>();
    while (!stream.skipOperator("}")) {
      keys.add(expression());
      stream.expectOperator(":");
      values.add(expression());
      if (!stream.atOperator("}")) {
        stream.expectOperator(",");
      }
    }
    return new Expression.DictLiteral(line, keys, values);
  }

  private Expression members(Expression object) {
    Expression value = object;
    while (true) {
      int line = stream.line();
      if (stream.skipOperator(".")) {
        Token name = stream.next();
        value =
            switch (name.kind()) {
              case NAME -> new Expression.Attribute(line, value, name.text());
              case INTEGER -> new Expression.Item(line, value, constant(name));
              default ->
                  throw new SyntaxFailure(
                      name.line(), "expected a name or number after '.', got " + name.describe());
            };
      } else if (stream.skipOperator("[")) {
        value = subscript(line, value);
      } else if (stream.atOperator("(")) {
        value = new Expression.Call(line, value, given());
      } else {
        return value;
      }
    }
  }

  private static Expression constant(Token number) {
    return new Expression.Constant(number.line(), Long.valueOf(number.text()));
  }

  private Expression subscript(int line, Expression object) {
    Expression nothing = new Expression.Constant(line, None.NONE);
    Expression start = stream.atOperator(":") ? nothing : expression();
    if (stream.skipOperator(":")) {
      Expression stop = endsSlice() ? nothing : expression();
      Expression step = stream.skipOperator(":") && !endsSlice() ? expression() : nothing;
      stream.expectOperator("]");
      return new Expression.Slice(line, object, start, stop, step);
    }
    List<Expression> keys = new ArrayList<>(List.of(start));
    while (stream.skipOperator(",") && !stream.atOperator("]")) {
      keys.add(expression());
    }
    stream.expectOperator("]");
    return new Expression.Item(
        line, object, keys.size() == 1 ? start : new Expression.Sequence(line, keys, true));
  }

  private boolean endsSlice() {
    return stream.atOperator(":") || stream.atOperator("]") || stream.atOperator(",");
  }

  /** Arguments in parentheses. */
  private Given given() {
    int line = stream.line();
    List<Expression> positional = new ArrayList<>();
    Map<String, Expression> named = new LinkedHashMap<>();
    Expression spread = null;
    Expression spreadNamed = null;
    stream.expectOperator("(");
    while (!stream.skipOperator(")")) {
      boolean last = spreadNamed != null;
      if (stream.skipOperator("*")) {
        last |= spread != null;
        spread = expression();
      } else if (stream.skipOperator("**")) {
        spreadNamed = expression();
      } else if (stream.at(Kind.NAME) && stream.following().is("=")) {
        String name = stream.next().text();
        stream.next();
        last |= named.put(name, expression()) != null;
      } else {
        last |= spread != null || !named.isEmpty();
        positional.add(expression());
      }
      if (last) {
        throw new SyntaxFailure(
            line, "expected arguments in the order: values, names once each, *list, **dict");
      }
      if (!stream.atOperator(")")) {
        stream.expectOperator(",");
      }
    }
    return new Given(positional, named, spread, spreadNamed);
  }

  private Expression filtersAndTests(Expression object) {
    Expression value = object;
    while (true) {
      int line = stream.line();
      if (stream.skipOperator("|")) {
        value = filter(value);
      } else if (stream.skipName("is")) {
        value = test(line, value);
      } else if (stream.atOperator("(")) {
        value = new Expression.Call(line, value, given());
      } else {
        return value;
      }
    }
  }

  /** Filters with their bars, as they follow a value. */
  Expression filters(Expression object) {
    Expression value = object;
    while (stream.skipOperator("|")) {
      value = filter(value);
    }
    return value;
  }

  /** A filter without its bar. */
  Expression filter(Expression object) {
    int line = stream.line();
    String name = dottedName();
    return new Expression.Filter(
        line, object, name, stream.atOperator("(") ? given() : Given.NOTHING);
  }

  private String dottedName() {
    StringBuilder name = new StringBuilder(stream.expect(Kind.NAME).text());
    while (stream.skipOperator(".")) {
      name.append('.').append(stream.expect(Kind.NAME).text());
    }
    return name.toString();
  }

  private Expression test(int line, Expression object) {
    boolean negated = stream.skipName("not");
    String name = dottedName();
    Given given = Given.NOTHING;
    if (stream.atOperator("(")) {
      given = given();
    } else if (beginsArgument()) {
      if (stream.atName("is")) {
        throw new SyntaxFailure(line, "expected one test; tests with 'is' cannot be chained");
      }
      given = new Given(List.of(members(primary())), Map.of(), null, null);
    }
    Expression test = new Expression.Test(line, object, name, given);
    return negated ? new Expression.Not(line, test) : test;
  }

  private boolean beginsArgument() {
    return switch (stream.current().kind()) {
      case NAME -> !stream.atName("else") && !stream.atName("or") && !stream.atName("and");
      case STRING, INTEGER, FLOAT -> true;
      default -> stream.atOperator("[") || stream.atOperator("{");
    };
  }
}
