package io.peft4j.models.decoder;

/** What a decoder does with the hidden states. */
public enum DecoderTask {
  /** Tells the next token. */
  NEXT_TOKEN,
  /** Nothing: they are the output. */
  HIDDEN_STATES,
  /** Classifies each row. */
  SEQUENCE_CLASSIFICATION,
  /** Classifies each token. */
  TOKEN_CLASSIFICATION;

  /**
   * Tells whether the output is one of classes, which no text is generated from.
   *
   * @return true for the two tasks of classification
   */
  public boolean classifies() {
    return this == SEQUENCE_CLASSIFICATION || this == TOKEN_CLASSIFICATION;
  }
}
