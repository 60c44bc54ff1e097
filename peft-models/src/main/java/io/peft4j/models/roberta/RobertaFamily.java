package io.peft4j.models.roberta;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import io.peft4j.models.bert.BertConfig;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** RoBERTa: {@code RobertaModel} and {@code RobertaForSequenceClassification}. */
public final class RobertaFamily implements ModelFamily {
  static final String PREFIX = "roberta.";
  private static final String HEADLESS = "RobertaModel";
  private static final String CLASSIFIER = "RobertaForSequenceClassification";

  @Override
  public String modelType() {
    return "roberta";
  }

  @Override
  public List<String> architectures() {
    return List.of(HEADLESS, CLASSIFIER);
  }

  @Override
  public String headless() {
    return HEADLESS;
  }

  @Override
  public Optional<String> classifier() {
    return Optional.of(CLASSIFIER);
  }

  @Override
  public String prefix() {
    return PREFIX;
  }

  @Override
  public Network network(ConfigValues config, String architecture, Predicate<String> present) {
    BertConfig values = BertConfig.read(config, 50265);
    int padding = config.token("pad_token_id", 1);
    if (padding >= values.positions() || padding >= values.vocabulary()) {
      throw config.wrong(
          "pad_token_id", "below max_position_embeddings and vocab_size, for positions follow it");
    }
    boolean classifies = architecture.equals(CLASSIFIER);
    return new RobertaNetwork(
        values, padding, !classifies && present.test("pooler.dense.weight"), classifies);
  }
}
