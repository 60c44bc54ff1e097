package io.peft4j.models.bert;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * BERT: {@code BertModel}, {@code BertForSequenceClassification}, {@code
 * BertForTokenClassification} and {@code BertForQuestionAnswering}.
 */
public final class BertFamily implements ModelFamily {
  static final String PREFIX = "bert.";
  private static final String NAME = "Bert";

  @Override
  public String modelType() {
    return "bert";
  }

  @Override
  public List<String> architectures() {
    return Arrays.stream(BertTask.values()).map(task -> task.architecture(NAME)).toList();
  }

  @Override
  public String headless() {
    return BertTask.HIDDEN_STATES.architecture(NAME);
  }

  @Override
  public Optional<String> classifier() {
    return Optional.of(BertTask.SEQUENCE_CLASSIFICATION.architecture(NAME));
  }

  @Override
  public Optional<String> tokenClassifier() {
    return Optional.of(BertTask.TOKEN_CLASSIFICATION.architecture(NAME));
  }

  @Override
  public Optional<String> questionAnswerer() {
    return Optional.of(BertTask.QUESTION_ANSWERING.architecture(NAME));
  }

  @Override
  public String prefix() {
    return PREFIX;
  }

  @Override
  public Network network(ConfigValues config, String architecture, Predicate<String> present) {
    BertTask task = BertTask.of(NAME, architecture);
    BertConfig values = BertConfig.read(config, 30522).checkedFor(task, config);
    boolean pools =
        switch (task) {
          case HIDDEN_STATES -> present.test("pooler.dense.weight");
          case SEQUENCE_CLASSIFICATION -> !values.meanPooling();
          case TOKEN_CLASSIFICATION, QUESTION_ANSWERING -> false;
        };
    return new BertNetwork(values, task, pools);
  }
}
