package io.peft4j.models.bert;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** BERT: {@code BertModel} and {@code BertForSequenceClassification}. */
public final class BertFamily implements ModelFamily {
  static final String PREFIX = "bert.";
  private static final String HEADLESS = "BertModel";
  private static final String CLASSIFIER = "BertForSequenceClassification";

  @Override
  public String modelType() {
    return "bert";
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
    boolean classifies = architecture.equals(CLASSIFIER);
    BertConfig values = BertConfig.read(config, 30522);
    boolean pools = classifies ? !values.meanPooling() : present.test("pooler.dense.weight");
    return new BertNetwork(values, pools, classifies);
  }
}
