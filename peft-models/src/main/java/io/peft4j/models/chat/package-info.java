/**
 * Conversations as the text a model was trained on: {@link io.peft4j.models.chat.ChatTemplate}
 * renders {@link io.peft4j.models.chat.ChatMessage messages} by the template that comes with a
 * tokenizer, as transformers' {@code apply_chat_template} does.
 */
@NullMarked
package io.peft4j.models.chat;

import org.jspecify.annotations.NullMarked;
