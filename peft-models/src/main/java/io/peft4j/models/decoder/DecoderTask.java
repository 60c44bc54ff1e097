package io.peft4j.models.decoder;

/** What a decoder does with the hidden states. */
public enum DecoderTask {
  /** Tells the next token. */
  NEXT_TOKEN,
  /** Nothing: they are the output. */
  HIDDEN_STATES,
  /** Classifies each row. */
  SEQUENCE_CLASSIFICATION
}
