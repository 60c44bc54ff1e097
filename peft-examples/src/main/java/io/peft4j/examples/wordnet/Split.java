package io.peft4j.examples.wordnet;

import java.util.List;

/**
 * Texts to learn from and texts to be tested on; no text is in both.
 *
 * @param train the texts to train on, in random order
 * @param test the texts to test on, in random order
 * @param labels the names of the classes; a text's label is an index into them
 */
public record Split(List<LabelledText> train, List<LabelledText> test, List<String> labels) {

  /** Copies the lists. */
  public Split {
    train = List.copyOf(train);
    test = List.copyOf(test);
    labels = List.copyOf(labels);
  }
}
