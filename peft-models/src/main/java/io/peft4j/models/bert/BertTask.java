package io.peft4j.models.bert;

/** What a model of the BERT kind does with the hidden states. */
public enum BertTask {
  /** Nothing: they are the output. */
  HIDDEN_STATES("Model"),
  /** Classifies each row. */
  SEQUENCE_CLASSIFICATION("ForSequenceClassification"),
  /** Classifies each token. */
  TOKEN_CLASSIFICATION("ForTokenClassification"),
  /** Finds where an answer begins and ends. */
  QUESTION_ANSWERING("ForQuestionAnswering");

  private final String suffix;

  BertTask(String suffix) {
    this.suffix = suffix;
  }

  /**
   * The class of transformers.
   *
   * @param family what class names begin with, for example {@code Bert}
   * @return for example {@code BertForTokenClassification}
   */
  public String architecture(String family) {
    return family + suffix;
  }

  /**
   * The task of a class of transformers.
   *
   * @param family what class names begin with, for example {@code Bert}
   * @param architecture one of the names that {@link #architecture} gives
   * @return the task
   * @throws IllegalArgumentException if the name is none of them
   */
  public static BertTask of(String family, String architecture) {
    for (BertTask task : values()) {
      if (task.architecture(family).equals(architecture)) {
        return task;
      }
    }
    throw new IllegalArgumentException(architecture + " is no class of the family " + family);
  }

  /**
   * Tells whether each token has an output of its own, so that there is no pooler.
   *
   * @return true for token classification and question answering
   */
  public boolean perToken() {
    return this == TOKEN_CLASSIFICATION || this == QUESTION_ANSWERING;
  }
}
