package io.peft4j.models.chat;

import java.time.Clock;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a chat template is told besides the messages. Immutable. */
public final class ChatOptions {
  private final boolean generationPrompt;
  private final @Nullable List<? extends Map<String, ?>> tools;
  private final @Nullable List<? extends Map<String, ?>> documents;
  private final @Nullable String template;
  private final Map<String, @Nullable Object> variables;
  private final Clock clock;

  private ChatOptions(Builder builder) {
    generationPrompt = builder.generationPrompt;
    tools = builder.tools;
    documents = builder.documents;
    template = builder.template;
    variables = Collections.unmodifiableMap(new LinkedHashMap<>(builder.variables));
    clock = builder.clock;
  }

  /**
   * Starts with no generation prompt, no tools, no variables, and the system's clock.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  boolean generationPrompt() {
    return generationPrompt;
  }

  @Nullable List<? extends Map<String, ?>> tools() {
    return tools;
  }

  @Nullable List<? extends Map<String, ?>> documents() {
    return documents;
  }

  Optional<String> template() {
    return Optional.ofNullable(template);
  }

  Map<String, @Nullable Object> variables() {
    return variables;
  }

  Clock clock() {
    return clock;
  }

  /** Collects options. */
  public static final class Builder {
    private boolean generationPrompt;
    private @Nullable List<? extends Map<String, ?>> tools;
    private @Nullable List<? extends Map<String, ?>> documents;
    private @Nullable String template;
    private final Map<String, @Nullable Object> variables = new LinkedHashMap<>();
    private Clock clock = Clock.systemDefaultZone();

    private Builder() {}

    /**
     * Whether the text ends with what opens the model's answer ({@code add_generation_prompt}).
     *
     * @param add true to generate from the text
     * @return this builder
     */
    public Builder generationPrompt(boolean add) {
      generationPrompt = add;
      return this;
    }

    /**
     * The tools that the model may call.
     *
     * @param tools JSON schemas of functions, as maps; empty is not the same as never given
     * @return this builder
     */
    public Builder tools(List<? extends Map<String, ?>> tools) {
      this.tools = List.copyOf(tools);
      return this;
    }

    /**
     * The documents that the model may cite.
     *
     * @param documents maps, mostly with {@code title} and {@code text}
     * @return this builder
     */
    public Builder documents(List<? extends Map<String, ?>> documents) {
      this.documents = List.copyOf(documents);
      return this;
    }

    /**
     * Which of several templates is used. If this is not called, it is {@code tool_use} if there
     * are tools and a template of that name, else {@code default}.
     *
     * @param name the template's name
     * @return this builder
     */
    public Builder template(String name) {
      template = name;
      return this;
    }

    /**
     * A variable that the template reads, such as {@code enable_thinking}. It hides a special token
     * of that name.
     *
     * @param name its name
     * @param value null, a string, a boolean, a number, a list or a map
     * @return this builder
     */
    public Builder variable(String name, @Nullable Object value) {
      variables.put(name, value);
      return this;
    }

    /**
     * What templates take as the present time; some print the date.
     *
     * @param clock the clock, with the zone to print in
     * @return this builder
     */
    public Builder clock(Clock clock) {
      this.clock = clock;
      return this;
    }

    /**
     * Makes the options.
     *
     * @return the options
     */
    public ChatOptions build() {
      return new ChatOptions(this);
    }
  }
}
