package io.peft4j;

/** What a model with adapters is for, as Hugging Face PEFT's {@code task_type} says it. */
public enum TaskType {
  /** Classifying sequences; the head is trained and saved with the adapter. */
  SEQ_CLS,
  /** Translating a sequence into another. */
  SEQ_2_SEQ_LM,
  /** Predicting the next token. */
  CAUSAL_LM,
  /** Classifying each token; the head is trained and saved with the adapter. */
  TOKEN_CLS,
  /** Answering questions from a text; the head is trained and saved with the adapter. */
  QUESTION_ANS,
  /** Computing hidden states. */
  FEATURE_EXTRACTION
}
