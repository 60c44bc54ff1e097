package io.peft4j.models.chat;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.jinja.JinjaTemplate;
import io.peft4j.models.jinja.TemplateException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Turns a conversation into the one text that a model reads, by the Jinja template that comes with
 * its tokenizer; equal to {@code apply_chat_template(..., tokenize=False)} of transformers.
 *
 * <p>A template sees {@code messages}, {@code tools}, {@code documents}, {@code
 * add_generation_prompt}, the special tokens by name ({@code bos_token}, ...), and the variables
 * given. As in transformers, fields of a message that are null are left out, and reasoning given as
 * {@code reasoning_content}, {@code thinking} or {@code reasoning} is there under the first two
 * names.
 *
 * <p>The text has its special tokens in it: encode it without adding them again. A template can be
 * hostile; what one may cost is bounded, see {@link JinjaTemplate}.
 *
 * <p>Immutable, and safe for use by several threads.
 */
public final class ChatTemplate {
  private static final String DEFAULT = "default";
  private static final List<String> REASONING =
      List.of("reasoning_content", "thinking", "reasoning");

  private final String origin;
  private final Map<String, String> sources;
  private final Map<String, String> tokens;
  private final Map<String, JinjaTemplate> parsed = new ConcurrentHashMap<>();

  ChatTemplate(String origin, Map<String, String> sources, Map<String, String> tokens) {
    this.origin = origin;
    this.sources = Map.copyOf(sources);
    this.tokens = Map.copyOf(tokens);
  }

  /**
   * Takes a template by its text.
   *
   * @param source the Jinja template
   * @param specialTokens special tokens by the names the template knows them by, such as {@code
   *     bos_token}
   * @return the template
   * @throws TemplateException if it is not valid Jinja, with the line
   */
  public static ChatTemplate of(String source, Map<String, String> specialTokens) {
    ChatTemplate template =
        new ChatTemplate("chat template", Map.of(DEFAULT, source), specialTokens);
    template.parsed(DEFAULT);
    return template;
  }

  /**
   * Reads the templates of a Hugging Face directory: {@code chat_template.jinja} and {@code
   * additional_chat_templates/NAME.jinja}, else {@code chat_template} in {@code
   * tokenizer_config.json}. Special tokens are those of {@code tokenizer_config.json} and of {@code
   * special_tokens_map.json}. Whether a template is valid shows when it is first rendered.
   *
   * @param directory the directory
   * @return the templates; empty if there is none
   * @throws io.peft4j.MalformedFileException if a file cannot be read or is not of its form
   */
  public static Optional<ChatTemplate> load(Path directory) {
    return ChatTemplateFiles.load(directory);
  }

  /**
   * Takes the templates of a tokenizer's configuration: {@code chat_template}, a string or a list
   * of objects with {@code name} and {@code template}, and the special tokens.
   *
   * @param tokenizerConfig the content of a {@code tokenizer_config.json}
   * @param origin what errors call it, for example the file
   * @return the templates; empty if there is none
   * @throws io.peft4j.MalformedFileException if {@code chat_template} has another form
   */
  public static Optional<ChatTemplate> of(JsonNode tokenizerConfig, String origin) {
    return ChatTemplateFiles.read(tokenizerConfig, origin);
  }

  /**
   * The names of the templates, mostly {@code default} alone.
   *
   * @return the names, sorted
   */
  public Set<String> names() {
    return new TreeSet<>(sources.keySet());
  }

  /**
   * The text of a template.
   *
   * @param name one of {@link #names}
   * @return the Jinja template; empty if there is none of that name
   */
  public Optional<String> source(String name) {
    return Optional.ofNullable(sources.get(name));
  }

  /**
   * The special tokens that templates see.
   *
   * @return tokens by name, unmodifiable
   */
  public Map<String, String> specialTokens() {
    return tokens;
  }

  /**
   * Renders a conversation.
   *
   * @param messages at least one
   * @param addGenerationPrompt whether the text ends with what opens the model's answer
   * @return the text, special tokens included
   * @throws InvalidInputException if there are no messages
   * @throws TemplateException if the template is not valid, fails, takes too much, or refuses the
   *     conversation
   */
  public String render(List<ChatMessage> messages, boolean addGenerationPrompt) {
    return render(messages, ChatOptions.builder().generationPrompt(addGenerationPrompt).build());
  }

  /**
   * Renders a conversation.
   *
   * @param messages at least one
   * @param options tools, variables and the like
   * @return the text, special tokens included
   * @throws InvalidInputException if there are no messages, or there is no template of the name
   *     that the options ask for
   * @throws io.peft4j.InvalidConfigException if tools, documents or variables hold what is not of
   *     JSON
   * @throws TemplateException if the template is not valid, fails, takes too much, or refuses the
   *     conversation
   */
  public String render(List<ChatMessage> messages, ChatOptions options) {
    return renderMarked(messages, options).text();
  }

  /**
   * Renders a conversation, and says what the template marks by {@code generation}: what the model
   * is to say.
   *
   * @param messages at least one
   * @param options tools, variables and the like
   * @return the text and its marks, of which most templates make none
   * @throws InvalidInputException as {@link #render(List, ChatOptions)}
   * @throws TemplateException as {@link #render(List, ChatOptions)}
   */
  public JinjaTemplate.Rendered renderMarked(List<ChatMessage> messages, ChatOptions options) {
    if (messages.isEmpty()) {
      throw new InvalidInputException("a conversation needs at least one message");
    }
    Map<String, @Nullable Object> variables = new LinkedHashMap<>(tokens);
    variables.putAll(options.variables());
    variables.put("messages", messages.stream().map(ChatTemplate::fields).toList());
    variables.put("tools", options.tools());
    variables.put("documents", options.documents());
    variables.put("add_generation_prompt", options.generationPrompt());
    return parsed(choose(options)).renderMarked(variables, options.clock());
  }

  private String choose(ChatOptions options) {
    boolean tools = options.tools() != null && sources.containsKey("tool_use");
    String name = options.template().orElse(tools ? "tool_use" : DEFAULT);
    if (!sources.containsKey(name)) {
      throw new InvalidInputException(
          origin + ": there is no chat template '" + name + "'; there are " + names());
    }
    return name;
  }

  private JinjaTemplate parsed(String name) {
    String label = sources.size() == 1 ? origin : origin + " (" + name + ")";
    return parsed.computeIfAbsent(
        name, key -> JinjaTemplate.parse(label, Objects.requireNonNull(sources.get(key))));
  }

  /** What the template sees of a message. */
  private static Map<String, @Nullable Object> fields(ChatMessage message) {
    Map<String, @Nullable Object> fields = new LinkedHashMap<>();
    Optional<Object> reasoning =
        REASONING.stream().map(message.fields()::get).flatMap(Stream::ofNullable).findFirst();
    reasoning.ifPresent(text -> fields.put("thinking", text));
    message
        .fields()
        .forEach(
            (key, value) -> {
              if (value != null) {
                fields.put(key, value);
              }
            });
    reasoning.ifPresent(text -> fields.put("reasoning_content", text));
    return fields;
  }
}
