package io.peft4j;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Text and conversations as a model reads them: what training needs of a tokenizer. Safe for use by
 * several threads.
 */
public interface TextEncoder {
  /**
   * Turns a text that stands by itself into tokens.
   *
   * @param text the text; special tokens may be written in it
   * @return its tokens, with those that mark beginning and end
   */
  long[] encode(String text);

  /**
   * Turns a conversation into tokens.
   *
   * @param conversation the conversation
   * @param generationPrompt whether it ends with what opens the model's answer
   * @return its tokens
   * @throws PeftException if there is no chat template, or it does not take the conversation
   */
  long[] encode(Conversation conversation, boolean generationPrompt);

  /**
   * Turns a conversation into tokens and finds those that the assistant says: what the chat
   * template marks by {@code generation}. If it marks nothing, the conversation is rendered turn by
   * turn: what a message of role {@code assistant} adds after the generation prompt is the
   * assistant's.
   *
   * @param conversation the conversation
   * @return its tokens and marks
   * @throws PeftException if there is no chat template, or it does not take the conversation, or
   *     marks nothing and writes the beginning of a conversation otherwise than the whole
   */
  Marked encodeMarked(Conversation conversation);

  /**
   * The token that ends a text.
   *
   * @return how it is written; empty if the tokenizer names none
   */
  Optional<String> endToken();

  /**
   * The token that fills up rows.
   *
   * @return its id
   */
  long paddingId();

  /**
   * What a chat template is given. Values are those of JSON.
   *
   * @param messages maps with {@code role}, {@code content} and whatever else the template reads;
   *     at least one
   * @param tools JSON schemas of functions; null if there are none
   * @param variables variables of the template
   */
  record Conversation(
      List<Map<String, @Nullable Object>> messages,
      @Nullable List<Map<String, @Nullable Object>> tools,
      Map<String, @Nullable Object> variables) {}

  /**
   * Tokens of a conversation.
   *
   * @param ids the tokens
   * @param assistant for each, whether the assistant says it
   */
  record Marked(long[] ids, boolean[] assistant) {}
}
