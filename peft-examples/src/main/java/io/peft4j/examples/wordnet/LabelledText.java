package io.peft4j.examples.wordnet;

/**
 * A text and the class it belongs to.
 *
 * @param text the text
 * @param label the index of the class, from 0
 */
public record LabelledText(String text, int label) {}
