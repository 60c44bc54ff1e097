package io.peft4j.models.jinja;

import java.util.List;

/** What can be assigned to. */
sealed interface Target {
  void assign(Engine engine, Scope scope, Object value);

  record Variable(String name) implements Target {
    @Override
    public void assign(Engine engine, Scope scope, Object value) {
      scope.set(name, value);
    }
  }

  /** An attribute of a namespace. */
  record Member(String namespace, String name) implements Target {
    @Override
    public void assign(Engine engine, Scope scope, Object value) {
      if (!(scope.find(namespace) instanceof Namespace found)) {
        throw new Failure("cannot assign an attribute to '" + namespace + "': it is no namespace");
      }
      found.set(name, value);
    }
  }

  record Several(List<Target> targets) implements Target {
    @Override
    public void assign(Engine engine, Scope scope, Object value) {
      List<Object> values = Values.list(engine, value);
      if (values.size() != targets.size()) {
        throw new Failure(targets.size() + " names cannot take apart " + values.size() + " values");
      }
      for (int i = 0; i < values.size(); i++) {
        targets.get(i).assign(engine, scope, values.get(i));
      }
    }
  }
}
