package io.peft4j.models.generate;

import io.peft4j.models.Tokenizer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** A prompt and the text that is generated after it, token by token. */
final class TextRow {
  private final int number;
  private final Settings settings;
  private final StopStrings stops;
  private final Tokenizer tokenizer;
  private final @Nullable GenerationListener listener;
  private final @Nullable PartialText partial;
  private final int prompt;
  private final int context;

  /** The text as far as it has been told. */
  private final StringBuilder text = new StringBuilder();

  private long[] tokens;
  private int count;
  private @Nullable FinishReason reason;

  /**
   * A row without text so far.
   *
   * @param number which prompt of the batch it is
   * @param prompt its tokens
   * @param context how many tokens the model's context holds
   */
  TextRow(
      int number,
      long[] prompt,
      int context,
      Settings settings,
      StopStrings stops,
      Tokenizer tokenizer,
      @Nullable GenerationListener listener) {
    this.number = number;
    this.settings = settings;
    this.stops = stops;
    this.tokenizer = tokenizer;
    this.listener = listener;
    this.prompt = prompt.length;
    this.context = context;
    // Text is only made as it comes where someone reads it as it comes.
    partial = listener == null && stops.none() ? null : new PartialText(tokenizer);
    tokens = Arrays.copyOf(prompt, prompt.length + 32);
    count = prompt.length;
  }

  long[] tokens() {
    return tokens;
  }

  int count() {
    return count;
  }

  int newTokens() {
    return count - prompt;
  }

  boolean finished() {
    return reason != null;
  }

  /** Takes the next token. */
  void add(long token) {
    if (count == tokens.length) {
      tokens = Arrays.copyOf(tokens, 2 * count);
    }
    tokens[count++] = token;
    StopStrings.End end = stops.look(tokens, count);
    reason = reason(token, end);
    if (partial == null) {
      return;
    }
    partial.add(tokens, prompt, newTokens());
    String piece = piece(partial, end);
    text.append(piece);
    if (listener != null) {
      boolean more = listener.accept(new GeneratedToken(number, token, piece));
      if (!more && reason == null) {
        reason = FinishReason.CANCELLED;
      }
    }
  }

  /** What can be told now: all that no stop string can begin in, and at the end, the rest. */
  private String piece(PartialText partial, StopStrings.End end) {
    if (reason == null) {
      CharSequence certain = partial.certain();
      int limit = Math.max(text.length(), certain.length() - end.text().length());
      return certain.subSequence(text.length(), limit).toString();
    }
    String all = partial.all();
    int limit = end.stops() ? end.cut(all) : all.length();
    return all.substring(text.length(), Math.max(text.length(), limit));
  }

  private @Nullable FinishReason reason(long token, StopStrings.End end) {
    if (settings.ends(token)) {
      return FinishReason.END_TOKEN;
    }
    if (end.stops()) {
      return FinishReason.STOP_STRING;
    }
    if (newTokens() >= settings.maxNewTokens()) {
      return FinishReason.LENGTH;
    }
    return count >= context ? FinishReason.CONTEXT : null;
  }

  GenerationResult result() {
    long[] made = Arrays.copyOfRange(tokens, prompt, count);
    if (reason == null) {
      throw new IllegalStateException("the row has not ended");
    }
    return new GenerationResult(
        made, partial == null ? tokenizer.decode(made, true) : text.toString(), reason);
  }
}
