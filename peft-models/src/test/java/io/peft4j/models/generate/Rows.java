package io.peft4j.models.generate;

import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;

/** Rows that are fed tokens without a model. */
final class Rows {
  private static final long[] PROMPT = {1};

  private Rows() {}

  /** A row after a prompt of one token, whose text is collected as it is told. */
  static TextRow row(
      PretrainedModel model, GenerationOptions options, Tokenizer tokenizer, StringBuilder told) {
    Settings settings = Settings.of(options, ModelDefaults.of(ModelEngine.of(model)), 1);
    return new TextRow(
        0,
        PROMPT,
        1000,
        settings,
        new StopStrings(settings.stopStrings(), tokenizer),
        tokenizer,
        token -> {
          told.append(token.text());
          return true;
        });
  }
}
