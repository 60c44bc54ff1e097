package io.peft4j.models.jinja;

import io.peft4j.models.jinja.Statement.Flow;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** One rendering: what it may still cost, where it is, and the names every template knows. */
final class Engine {
  private final Budget budget = new Budget();
  private final Map<String, Object> globals;
  private int line = 1;

  Engine(Clock clock) {
    globals = Globals.of(clock);
  }

  Budget budget() {
    return budget;
  }

  int line() {
    return line;
  }

  /** Notes where the template is now, for errors. */
  void at(int line) {
    this.line = line;
  }

  @Nullable Object global(String name) {
    return globals.get(name);
  }

  /** Pays for reading a text, and gives it back. */
  String read(String text) {
    return budget.text(text);
  }

  /** Pays for having made a text, and gives it back. */
  String made(String text) {
    return budget.text(text);
  }

  Object value(Expression expression, Scope scope) {
    budget.spend(1);
    budget.enter();
    line = expression.line();
    Object value = expression.evaluate(this, scope);
    budget.leave();
    return value;
  }

  List<Object> values(List<Expression> expressions, Scope scope) {
    List<Object> values = new ArrayList<>(expressions.size());
    for (Expression expression : expressions) {
      values.add(value(expression, scope));
    }
    return values;
  }

  Flow run(List<Statement> statements, Scope scope, Output out) {
    budget.enter();
    Flow flow = Flow.NEXT;
    for (int i = 0; i < statements.size() && flow == Flow.NEXT; i++) {
      Statement statement = statements.get(i);
      budget.spend(1);
      line = statement.line();
      flow = statement.execute(this, scope, out);
    }
    budget.leave();
    return flow;
  }

  /** Runs a body for its text and puts that through filters. */
  Object captured(List<Statement> body, Expression filters, Scope scope) {
    Output out = new Output(budget);
    run(body, new Scope(scope), out);
    Scope inner = new Scope(scope);
    inner.set(Statement.BODY, out.toString());
    return value(filters, inner);
  }

  Object call(Object function, Arguments arguments) {
    if (function instanceof Undefined undefined) {
      throw undefined.failure();
    }
    if (!(function instanceof Function callable)) {
      throw new Failure("'" + Values.typeName(function) + "' object cannot be called");
    }
    for (Object argument : arguments.positional()) {
      payFor(argument);
    }
    budget.enter();
    Object result = callable.call(this, arguments);
    budget.leave();
    return result;
  }

  /** Filters a value; a mark that it has stays where jinja2 keeps it. */
  Object filter(String name, Object value, Arguments arguments) {
    if (value instanceof Markup markup) {
      if (name.equals("e") || name.equals("escape") || name.equals("safe")) {
        return markup;
      }
      Object result = filter(name, arguments.after(markup.text()));
      return Filters.KEEP_MARKUP.contains(name) && result instanceof String text
          ? new Markup(text)
          : result;
    }
    return filter(name, arguments.after(value));
  }

  Object filter(String name, Arguments arguments) {
    Function filter = Filters.find(name);
    if (filter == null) {
      throw new Failure("there is no filter '" + name + "'; there are " + Filters.names());
    }
    return call(filter, arguments);
  }

  /** What a function looks at costs as much as what it makes. */
  private void payFor(Object value) {
    if (value instanceof String text) {
      budget.text(text);
    } else {
      List<Object> items = Values.sequence(value);
      budget.spend(items != null ? items.size() : value instanceof Dict dict ? dict.size() : 0);
    }
  }
}
