package io.peft4j.models.generate;

import io.peft4j.models.InvalidInputException;
import io.peft4j.models.TokenDecoder;
import io.peft4j.models.Tokenizer;
import io.peft4j.nn.PassSource;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/**
 * Generates text with a causal language model: token for token what transformers' {@code generate}
 * gives, where tokens are not drawn.
 *
 * <pre>{@code
 * Generator generator = Generator.of(model.with(AdapterSet.of("style")), tokenizer);
 * GenerationOptions options = GenerationOptions.builder().maxNewTokens(100).build();
 * String text = generator.generate("Once upon a time", options).text();
 * }</pre>
 *
 * <p>Options that are not set are as the model's {@code generation_config.json} says, see {@link
 * GenerationOptions}. Processors act in the order of transformers: repetition penalty, end tokens
 * not allowed yet, temperature, top-k, top-p, min-p. A text also ends where the model's context is
 * full.
 *
 * <p>The rows of a batch may have different adapters ({@link io.peft4j.AdapterSet#rows}), in the
 * order of the prompts. A generator holds nothing that is to be closed: model and tokenizer stay
 * their owner's. Any number of threads may use it at once; each call leases the model's weights and
 * adapters as they are when it begins.
 */
public final class Generator {
  private final TextEngine engine;
  private final Tokenizer tokenizer;
  private final ModelDefaults defaults;
  private final int context;

  private Generator(TextEngine engine, Tokenizer tokenizer) {
    this.engine = engine;
    this.tokenizer = tokenizer;
    defaults = ModelDefaults.of(engine);
    context = engine.context();
  }

  /**
   * A generator over a model.
   *
   * @param source a {@link io.peft4j.models.PretrainedModel} that is a causal language model, or a
   *     {@link io.peft4j.PeftModel} or {@link io.peft4j.PeftView} of one; must stay open while this
   *     is used
   * @param tokenizer the model's tokenizer; must stay open while this is used
   * @return the generator
   * @throws InvalidInputException if the model is not a causal language model
   * @throws io.peft4j.MalformedFileException if the model's {@code generation_config.json} is
   *     damaged
   */
  public static Generator of(PassSource source, Tokenizer tokenizer) {
    return of(ModelEngine.of(source), tokenizer);
  }

  /**
   * A generator over another engine.
   *
   * @param engine a causal language model; must stay open while this is used
   * @param tokenizer the model's tokenizer; must stay open while this is used
   * @return the generator
   * @throws io.peft4j.MalformedFileException if the model's {@code generation_config.json} is
   *     damaged
   */
  public static Generator of(TextEngine engine, Tokenizer tokenizer) {
    return new Generator(engine, tokenizer);
  }

  /**
   * The length of the model's context.
   *
   * @return the most tokens that prompt and text have together
   */
  public int context() {
    return context;
  }

  /**
   * Continues a text by the model's defaults: 20 tokens, and the most probable ones, unless its
   * {@code generation_config.json} says otherwise.
   *
   * @param prompt the text; special tokens that the tokenizer puts before it are added
   * @return what comes after it
   * @throws InvalidInputException if the prompt leaves no room in the context
   */
  public GenerationResult generate(String prompt) {
    return generate(prompt, GenerationOptions.defaults());
  }

  /**
   * Continues a text.
   *
   * @param prompt the text; special tokens that the tokenizer puts before it are added
   * @param options how
   * @return what comes after it
   * @throws InvalidInputException if the prompt leaves no room in the context
   * @throws io.peft4j.InvalidConfigException if the model's defaults are needed and are wrong or
   *     ask for what is not implemented
   */
  public GenerationResult generate(String prompt, GenerationOptions options) {
    return generate(List.of(tokenizer.ids(prompt, true)), options).get(0);
  }

  /**
   * Continues a text and tells each token as it comes.
   *
   * @param prompt the text; special tokens that the tokenizer puts before it are added
   * @param options how; with one beam
   * @param listener is told each token
   * @return what comes after it
   * @throws InvalidInputException if the prompt leaves no room in the context, or there are several
   *     beams
   * @throws io.peft4j.InvalidConfigException if the model's defaults are needed and are wrong or
   *     ask for what is not implemented
   */
  public GenerationResult generate(
      String prompt, GenerationOptions options, GenerationListener listener) {
    return generate(List.of(tokenizer.ids(prompt, true)), options, listener).get(0);
  }

  /**
   * Continues several texts at once.
   *
   * @param prompts the tokens of each, at least one; an empty one becomes the model's first token
   *     ({@code bos_token_id})
   * @param options how
   * @return what comes after each
   * @throws InvalidInputException if a prompt leaves no room in the context, has tokens that the
   *     model has not, or is empty where the model has no first token
   * @throws io.peft4j.InvalidConfigException if the model's defaults are needed and are wrong or
   *     ask for what is not implemented
   * @throws io.peft4j.AdapterStateException if the model or an adapter is closed, or adapters are
   *     chosen for another number of rows
   */
  public List<GenerationResult> generate(List<long[]> prompts, GenerationOptions options) {
    return run(prompts, options, null);
  }

  /**
   * Continues several texts at once and tells each token as it comes.
   *
   * @param prompts the tokens of each, at least one; an empty one becomes the model's first token
   *     ({@code bos_token_id})
   * @param options how; with one beam
   * @param listener is told each token of each prompt
   * @return what comes after each
   * @throws InvalidInputException if a prompt leaves no room in the context, has tokens that the
   *     model has not, or is empty where the model has no first token, or there are several beams
   * @throws io.peft4j.InvalidConfigException if the model's defaults are needed and are wrong or
   *     ask for what is not implemented
   * @throws io.peft4j.AdapterStateException if the model or an adapter is closed, or adapters are
   *     chosen for another number of rows
   */
  public List<GenerationResult> generate(
      List<long[]> prompts, GenerationOptions options, GenerationListener listener) {
    return run(prompts, options, listener);
  }

  private List<GenerationResult> run(
      List<long[]> given, GenerationOptions options, @Nullable GenerationListener listener) {
    List<long[]> prompts = new ArrayList<>();
    int longest = 0;
    for (long[] prompt : given) {
      long[] tokens = prompt.length == 0 ? begun() : prompt.clone();
      longest = Math.max(longest, tokens.length);
      prompts.add(tokens);
    }
    if (longest >= context) {
      throw new InvalidInputException(
          "the prompt has "
              + longest
              + " tokens, which leaves no room for more: the model's context holds "
              + context);
    }
    Settings settings = Settings.of(options, defaults, longest);
    if (settings.beams() > 1 && listener != null) {
      throw new InvalidInputException(
          "tokens can be told as they come where there is one beam; there are " + settings.beams());
    }
    StopStrings stops = new StopStrings(settings.stopStrings(), tokenizer);
    try (TokenDecoder decoder = engine.start(prompts, settings.beams(), settings.maxNewTokens())) {
      return settings.beams() > 1
          ? beams(decoder, prompts, settings, stops)
          : rows(decoder, prompts, settings, stops, listener);
    }
  }

  private long[] begun() {
    OptionalInt begin = defaults.beginToken();
    if (begin.isEmpty()) {
      throw new InvalidInputException(
          "the prompt is empty, and the model has no token to begin with (bos_token_id)");
    }
    return new long[] {begin.getAsInt()};
  }

  private List<GenerationResult> rows(
      TokenDecoder decoder,
      List<long[]> prompts,
      Settings settings,
      StopStrings stops,
      @Nullable GenerationListener listener) {
    List<TextRow> rows = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      rows.add(new TextRow(i, prompts.get(i), context, settings, stops, tokenizer, listener));
    }
    new TokenSearch(decoder, settings, rows).run();
    return rows.stream().map(TextRow::result).toList();
  }

  private List<GenerationResult> beams(
      TokenDecoder decoder, List<long[]> prompts, Settings settings, StopStrings stops) {
    List<GenerationResult> results = new ArrayList<>();
    for (Beam beam : new BeamSearch(decoder, prompts, context, settings, stops).run()) {
      long[] all = beam.tokens();
      long[] made = Arrays.copyOfRange(all, prompts.get(results.size()).length, all.length);
      String text = tokenizer.decode(made, true);
      StopStrings.End end = stops.look(all, all.length);
      FinishReason reason = beam.reason() == null ? FinishReason.LENGTH : beam.reason();
      results.add(
          new GenerationResult(
              made, end.stops() ? text.substring(0, end.cut(text)) : text, reason));
    }
    return results;
  }
}
