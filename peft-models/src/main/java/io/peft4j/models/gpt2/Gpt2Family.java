package io.peft4j.models.gpt2;

import io.peft4j.models.ConfigValues;
import io.peft4j.models.ModelFamily;
import io.peft4j.models.Network;
import io.peft4j.models.decoder.DecoderTask;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * GPT-2: {@code GPT2LMHeadModel}, {@code GPT2Model}, {@code GPT2ForSequenceClassification} and
 * {@code GPT2ForTokenClassification}.
 */
public final class Gpt2Family implements ModelFamily {
  static final String PREFIX = "transformer.";
  private static final String CAUSAL = "GPT2LMHeadModel";
  private static final String HEADLESS = "GPT2Model";
  private static final String CLASSIFIER = "GPT2ForSequenceClassification";
  private static final String TOKEN_CLASSIFIER = "GPT2ForTokenClassification";

  @Override
  public String modelType() {
    return "gpt2";
  }

  @Override
  public List<String> architectures() {
    return List.of(CAUSAL, HEADLESS, CLASSIFIER, TOKEN_CLASSIFIER);
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
  public Optional<String> tokenClassifier() {
    return Optional.of(TOKEN_CLASSIFIER);
  }

  @Override
  public String prefix() {
    return PREFIX;
  }

  @Override
  public Network network(ConfigValues config, String architecture, Predicate<String> present) {
    DecoderTask task =
        switch (architecture) {
          case CAUSAL -> DecoderTask.NEXT_TOKEN;
          case HEADLESS -> DecoderTask.HIDDEN_STATES;
          case TOKEN_CLASSIFIER -> DecoderTask.TOKEN_CLASSIFICATION;
          default -> DecoderTask.SEQUENCE_CLASSIFICATION;
        };
    return new Gpt2Network(Gpt2Config.read(config, task));
  }
}
