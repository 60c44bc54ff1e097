package io.peft4j.train.data;

/** Which tokens of a row the loss counts. */
public enum TrainedTokens {
  /** As TRL has it: the completion where a row has a prompt and one, else all tokens. */
  USUAL,
  /** All tokens, those of prompts too. */
  ALL,
  /** The completion; rows must have a prompt and one. */
  COMPLETION,
  /** What the assistant says in conversations; and of that, the completion where there is one. */
  ASSISTANT
}
