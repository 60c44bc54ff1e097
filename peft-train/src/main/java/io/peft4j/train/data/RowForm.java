package io.peft4j.train.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/** The forms that rows of a JSON-lines file may have, told apart by their keys. */
public enum RowForm {
  /**
   * {@code input_ids}, a list of tokens, and optionally {@code labels}, {@code completion_mask} or
   * {@code assistant_masks} of the same length.
   */
  TOKENS("input_ids"),
  /** {@code messages}, a conversation, and optionally {@code tools}. */
  MESSAGES("messages"),
  /** {@code prompt} and {@code completion}: two texts, or two lists of messages. */
  PROMPT_COMPLETION("prompt", "completion"),
  /** {@code instruction} and {@code output}, and optionally {@code input}, as Alpaca has them. */
  ALPACA("instruction", "output"),
  /** {@code text}. */
  TEXT("text");

  private final List<String> keys;

  RowForm(String... keys) {
    this.keys = List.of(keys);
  }

  boolean fits(ObjectNode row) {
    return keys.stream().allMatch(row::hasNonNull);
  }

  /** The keys, as messages name them. */
  String keys() {
    return String.join(" and ", keys);
  }
}
