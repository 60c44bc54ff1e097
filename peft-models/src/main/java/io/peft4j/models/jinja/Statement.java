package io.peft4j.models.jinja;

import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What is done. Execute through {@link Engine#run}, which counts the steps. */
sealed interface Statement {
  /** How a statement ended. */
  enum Flow {
    NEXT,
    BREAK,
    CONTINUE
  }

  /** The variable that holds the text of a block while filters are applied to it; no name. */
  String BODY = " body";

  int line();

  Flow execute(Engine engine, Scope scope, Output out);

  record Data(int line, String text) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      out.add(text);
      return Flow.NEXT;
    }
  }

  record Print(int line, Expression value) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      Object printed = engine.value(value, scope);
      engine.at(line);
      out.add(Printer.text(engine, printed));
      return Flow.NEXT;
    }
  }

  /** Tests in order; the last test may be the constant true for 'else'. */
  record If(int line, List<Expression> tests, List<List<Statement>> bodies) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      for (int i = 0; i < tests.size(); i++) {
        if (Values.truth(engine.value(tests.get(i), scope))) {
          return engine.run(bodies.get(i), scope, out);
        }
      }
      return Flow.NEXT;
    }
  }

  record For(
      int line,
      Target target,
      Expression elements,
      @Nullable Expression test,
      List<Statement> body,
      List<Statement> otherwise)
      implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      Object values = engine.value(elements, scope);
      engine.at(line);
      Iterator<Object> iterator = Values.iterate(engine, values);
      Loop loop = new Loop(test == null ? iterator : accepted(engine, scope, iterator, test));
      // As in jinja2, a pass that was cut short does not count as one for 'else'.
      boolean completed = false;
      while (loop.advance()) {
        Scope pass = new Scope(scope);
        pass.set("loop", loop);
        target.assign(engine, pass, loop.current());
        Flow flow = engine.run(body, pass, out);
        if (flow == Flow.BREAK) {
          break;
        }
        completed |= flow == Flow.NEXT;
      }
      return completed ? Flow.NEXT : engine.run(otherwise, new Scope(scope), out);
    }

    private Iterator<Object> accepted(
        Engine engine, Scope scope, Iterator<Object> all, Expression condition) {
      return Streams.filter(
          all,
          element -> {
            Scope pass = new Scope(scope);
            target.assign(engine, pass, element);
            return Values.truth(engine.value(condition, pass));
          });
    }
  }

  record Jump(int line, Flow flow) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      return flow;
    }
  }

  record Set(int line, Target target, Expression value) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      Object result = engine.value(value, scope);
      engine.at(line);
      target.assign(engine, scope, result);
      return Flow.NEXT;
    }
  }

  /** {@code set x}: the text of the body, put through filters over {@link #BODY}. */
  record SetBlock(int line, Target target, Expression filters, List<Statement> body)
      implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      target.assign(engine, scope, engine.captured(body, filters, scope));
      return Flow.NEXT;
    }
  }

  /** {@code filter}: the text of the body, put through filters over {@link #BODY}. */
  record FilterBlock(int line, Expression filters, List<Statement> body) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      out.add(Printer.text(engine, engine.captured(body, filters, scope)));
      return Flow.NEXT;
    }
  }

  /** A body with variables of its own: {@code with}, {@code block}. */
  record With(int line, List<Target> targets, List<Expression> values, List<Statement> body)
      implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      Scope inner = new Scope(scope);
      for (int i = 0; i < targets.size(); i++) {
        targets.get(i).assign(engine, inner, engine.value(values.get(i), scope));
      }
      return engine.run(body, inner, out);
    }
  }

  /** {@code generation}: marks what the model is to say. */
  record Generation(int line, List<Statement> body) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      int from = out.length();
      Flow flow = engine.run(body, new Scope(scope), out);
      out.mark(from);
      return flow;
    }
  }

  record Define(int line, MacroCode code) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      scope.set(code.name(), new Macro(code, scope));
      return Flow.NEXT;
    }
  }

  /** {@code call}: calls a macro that can call the body back. */
  record CallBlock(int line, Expression.Call call, MacroCode code) implements Statement {
    @Override
    public Flow execute(Engine engine, Scope scope, Output out) {
      Object function = engine.value(call.target(), scope);
      Arguments arguments = call.given().evaluate(engine, scope);
      java.util.Map<String, Object> named = new java.util.LinkedHashMap<>(arguments.named());
      named.put("caller", new Macro(code, scope));
      engine.at(line);
      Object result = engine.call(function, new Arguments(arguments.positional(), named));
      out.add(Printer.text(engine, result));
      return Flow.NEXT;
    }
  }
}
