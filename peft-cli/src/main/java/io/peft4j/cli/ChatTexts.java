package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.chat.ChatTemplate;
import java.nio.file.Path;
import java.util.List;

/** Conversations as tokens. */
final class ChatTexts {
  private final Tokenizer tokenizer;
  private final ChatTemplate template;

  /**
   * Takes the tokenizer's chat template.
   *
   * @param base where the tokenizer comes from, for the message if it has none
   */
  ChatTexts(Tokenizer tokenizer, Path base) {
    this.tokenizer = tokenizer;
    template =
        tokenizer
            .chatTemplate()
            .orElseThrow(
                () -> new InvalidConfigException(base + ": the tokenizer has no chat template"));
  }

  /** The tokens of a conversation and of what opens the answer; the template has special tokens. */
  long[] tokens(List<ChatMessage> messages) {
    return tokenizer.ids(template.render(messages, true), false);
  }
}
