package io.peft4j.models.generate;

/** Why a text ends. */
public enum FinishReason {
  /** The model gave a token that ends it, which is the last of the tokens. */
  END_TOKEN,
  /** A stop string appeared. */
  STOP_STRING,
  /** There are as many tokens as were allowed. */
  LENGTH,
  /** Prompt and text fill the model's context. */
  CONTEXT,
  /** The listener wanted no more. */
  CANCELLED
}
