package io.peft4j.train.data;

import io.peft4j.TextEncoder;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;

/** A tokenizer whose tokens are characters, after a 1; the end is '.'. */
final class Letters implements TextEncoder {
  @Override
  public long[] encode(String text) {
    return ("\u0001" + text).chars().asLongStream().toArray();
  }

  @Override
  public long[] encode(Conversation conversation, boolean generationPrompt) {
    StringBuilder text = new StringBuilder();
    for (Map<String, ?> message : conversation.messages()) {
      text.append(message.get("role").toString().charAt(0)).append(message.get("content"));
    }
    return text.append(generationPrompt ? "a" : "").chars().asLongStream().toArray();
  }

  @Override
  public Marked encodeMarked(Conversation conversation) {
    long[] ids = encode(conversation, false);
    boolean[] marks = new boolean[ids.length];
    int place = 0;
    for (Map<String, ?> message : conversation.messages()) {
      int length = message.get("content").toString().length() + 1;
      Arrays.fill(marks, place + 1, place + length, message.get("role").equals("assistant"));
      place += length;
    }
    return new Marked(ids, marks);
  }

  @Override
  public Optional<String> endToken() {
    return Optional.of(".");
  }

  @Override
  public long paddingId() {
    return 0;
  }
}
