package io.peft4j.models.jinja;

import io.peft4j.models.jinja.Token.Kind;
import java.util.List;

/** Tokens one after the other, and how deep what they say is nested. */
final class TokenStream {
  /** Deepest nesting of blocks and expressions. */
  static final int MAX_DEPTH = 100;

  private final List<Token> tokens;
  private int position;
  private int depth;

  TokenStream(List<Token> tokens) {
    this.tokens = tokens;
  }

  Token current() {
    return tokens.get(position);
  }

  Token following() {
    return tokens.get(Math.min(position + 1, tokens.size() - 1));
  }

  Token next() {
    Token token = current();
    position = Math.min(position + 1, tokens.size() - 1);
    return token;
  }

  int line() {
    return current().line();
  }

  boolean at(Kind kind) {
    return current().kind() == kind;
  }

  boolean atOperator(String operator) {
    return current().is(operator);
  }

  boolean atName(String name) {
    return current().isName(name);
  }

  boolean skipOperator(String operator) {
    if (!atOperator(operator)) {
      return false;
    }
    next();
    return true;
  }

  boolean skipName(String name) {
    if (!atName(name)) {
      return false;
    }
    next();
    return true;
  }

  Token expect(Kind kind) {
    if (!at(kind)) {
      throw expected(kind.label());
    }
    return next();
  }

  void expectOperator(String operator) {
    if (!skipOperator(operator)) {
      throw expected("'" + operator + "'");
    }
  }

  void expectName(String name) {
    if (!skipName(name)) {
      throw expected("'" + name + "'");
    }
  }

  SyntaxFailure expected(String what) {
    return new SyntaxFailure(line(), "expected " + what + ", got " + current().describe());
  }

  void enter() {
    if (++depth > MAX_DEPTH) {
      throw new SyntaxFailure(line(), "nests deeper than " + MAX_DEPTH + " levels");
    }
  }

  void leave() {
    depth--;
  }
}
