package io.peft4j.examples.wordnet;

/**
 * A noun of one meaning.
 *
 * @param word the noun
 * @param definition what it means
 * @param hypernym a word for the kind of thing it is
 */
public record DefinedWord(String word, String definition, String hypernym) {
  private static final String KIND = " It is a kind of ";

  /**
   * The request of an instruction task.
   *
   * @return what a user asks
   */
  public String question() {
    return "Define the word \"" + word + "\" and say what kind of thing it is.";
  }

  /**
   * The answer.
   *
   * @return what should be said
   */
  public String answer() {
    String sentence = Character.toUpperCase(definition.charAt(0)) + definition.substring(1);
    return sentence + "." + KIND + hypernym + ".";
  }

  /**
   * Tells whether an answer names the right kind of thing.
   *
   * @param answer what was said
   * @return true if so, word for word
   */
  public boolean namesHypernym(String answer) {
    int kind = answer.lastIndexOf(KIND.strip());
    if (kind < 0) {
      return false;
    }
    String named = answer.substring(kind + KIND.strip().length()).strip();
    int stop = named.indexOf('.');
    return (stop < 0 ? named : named.substring(0, stop)).equals(hypernym);
  }
}
