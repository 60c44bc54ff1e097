package io.peft4j.models.roberta;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import io.peft4j.models.bert.BertConfig;
import io.peft4j.models.bert.BertTask;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * RoBERTa: {@code RobertaModel}, {@code RobertaForSequenceClassification}, {@code
 * RobertaForTokenClassification} and {@code RobertaForQuestionAnswering}.
 */
public final class RobertaFamily implements ModelFamily {
  static final String PREFIX = "roberta.";
  private static final String NAME = "Roberta";

  @Override
  public String modelType() {
    return "roberta";
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
    BertConfig values = BertConfig.read(config, 50265).checkedFor(task, config);
    int padding = config.token("pad_token_id", 1);
    if (padding >= values.positions() || padding >= values.vocabulary()) {
      throw config.wrong(
          "pad_token_id", "below max_position_embeddings and vocab_size, for positions follow it");
    }
    boolean pools = task == BertTask.HIDDEN_STATES && present.test("pooler.dense.weight");
    return new RobertaNetwork(values, padding, task, pools);
  }
}
