package io.peft4j.models.generate;

/**
 * Is told each token as it is generated, on the thread that generates. What it throws ends the
 * generation and reaches the caller.
 */
@FunctionalInterface
public interface GenerationListener {
  /**
   * Takes a token.
   *
   * @param token the token and the text that is certain now
   * @return whether to go on with this prompt's text; the others are not affected
   */
  boolean accept(GeneratedToken token);
}
