package io.peft4j.models.jinja;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What has a value. Evaluate through {@link Engine#value}, which counts the steps. */
sealed interface Expression {
  int line();

  Object evaluate(Engine engine, Scope scope);

  record Constant(int line, Object value) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      return value;
    }
  }

  record Name(int line, String name) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = scope.find(name);
      value = value == null ? engine.global(name) : value;
      return value == null ? Undefined.name(name) : value;
    }
  }

  record Sequence(int line, List<Expression> items, boolean tuple) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      List<Object> values = engine.values(items, scope);
      values.replaceAll(Markup::plain);
      return tuple ? new Tuple(values) : values;
    }
  }

  record DictLiteral(int line, List<Expression> keys, List<Expression> values)
      implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Dict dict = new Dict();
      for (int i = 0; i < keys.size(); i++) {
        Object key = Markup.plain(engine.value(keys.get(i), scope));
        dict.put(key, Markup.plain(engine.value(values.get(i), scope)));
      }
      return dict;
    }
  }

  record Attribute(int line, Expression object, String name) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(object, scope);
      engine.at(line);
      return Values.attribute(engine, value, name);
    }
  }

  record Item(int line, Expression object, Expression key) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(object, scope);
      Object at = engine.value(key, scope);
      engine.at(line);
      return Values.item(engine, value, at);
    }
  }

  record Slice(int line, Expression object, Expression start, Expression stop, Expression step)
      implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(object, scope);
      Object from = engine.value(start, scope);
      Object to = engine.value(stop, scope);
      Object by = engine.value(step, scope);
      engine.at(line);
      return Values.slice(engine, value, from, to, by);
    }
  }

  /** The arguments of a call; spread is what stands behind a star, or two. */
  record Given(
      List<Expression> positional,
      Map<String, Expression> named,
      @Nullable Expression spread,
      @Nullable Expression spreadNamed) {
    static final Given NOTHING = new Given(List.of(), Map.of(), null, null);

    Arguments evaluate(Engine engine, Scope scope) {
      List<Object> values = engine.values(positional, scope);
      values.replaceAll(Markup::plain);
      if (spread != null) {
        Values.iterate(engine, engine.value(spread, scope)).forEachRemaining(values::add);
      }
      Map<String, Object> names = new LinkedHashMap<>();
      named.forEach((name, value) -> names.put(name, Markup.plain(engine.value(value, scope))));
      if (spreadNamed != null) {
        if (!(engine.value(spreadNamed, scope) instanceof Dict dict)) {
          throw new Failure("what follows ** must be a dict");
        }
        for (Map.Entry<Object, Object> entry : dict.entries()) {
          if (!(entry.getKey() instanceof String name)
              || names.put(name, entry.getValue()) != null) {
            throw new Failure("what follows ** must have texts as keys, each given once");
          }
        }
      }
      return new Arguments(values, names);
    }
  }

  record Call(int line, Expression target, Given given) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object function = engine.value(target, scope);
      Arguments arguments = given.evaluate(engine, scope);
      engine.at(line);
      return engine.call(function, arguments);
    }
  }

  record Filter(int line, Expression input, String name, Given given) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(input, scope);
      Arguments arguments = given.evaluate(engine, scope);
      engine.at(line);
      return engine.filter(name, value, arguments);
    }
  }

  record Test(int line, Expression input, String name, Given given) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = Markup.plain(engine.value(input, scope));
      Arguments arguments = given.evaluate(engine, scope);
      engine.at(line);
      return Tests.test(engine, name, arguments.after(value));
    }
  }

  record Conditional(int line, Expression test, Expression yes, @Nullable Expression no)
      implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      if (Values.truth(engine.value(test, scope))) {
        return engine.value(yes, scope);
      }
      return no == null
          ? Undefined.because("the 'if' of this expression is false, and it has no 'else'")
          : engine.value(no, scope);
    }
  }

  record Logic(int line, boolean and, Expression left, Expression right) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(left, scope);
      return Values.truth(value) == and ? engine.value(right, scope) : value;
    }
  }

  record Not(int line, Expression operand) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      return !Values.truth(engine.value(operand, scope));
    }
  }

  /** A chain: {@code a < b < c}. */
  record Compare(int line, Expression first, List<String> operators, List<Expression> others)
      implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object left = Markup.plain(engine.value(first, scope));
      for (int i = 0; i < operators.size(); i++) {
        Object right = Markup.plain(engine.value(others.get(i), scope));
        engine.at(line);
        if (!Operators.compare(engine, operators.get(i), left, right)) {
          return false;
        }
        left = right;
      }
      return true;
    }
  }

  record Binary(int line, String operator, Expression left, Expression right)
      implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object first = engine.value(left, scope);
      Object second = engine.value(right, scope);
      engine.at(line);
      return Operators.binary(engine, operator, first, second);
    }
  }

  record Sign(int line, boolean negative, Expression operand) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      Object value = engine.value(operand, scope);
      engine.at(line);
      return Operators.sign(negative, value);
    }
  }

  /** {@code a ~ b ~ c}. */
  record Concat(int line, List<Expression> parts) implements Expression {
    @Override
    public Object evaluate(Engine engine, Scope scope) {
      List<String> texts = new ArrayList<>(parts.size());
      long length = 0;
      for (Expression part : parts) {
        String text = Printer.text(engine, engine.value(part, scope));
        texts.add(text);
        length += text.length();
      }
      engine.budget().characters(length);
      return String.join("", texts);
    }
  }
}
