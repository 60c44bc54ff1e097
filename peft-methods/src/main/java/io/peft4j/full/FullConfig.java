package io.peft4j.full;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.target.ParameterPatterns;
import java.util.ArrayList;
import java.util.List;

/**
 * Full fine-tuning: every parameter of the model is trained, but for those that are frozen.
 *
 * <pre>{@code
 * PeftModel model = Peft.wrap(base, FullConfig.builder().freeze("embed_tokens", "layers.[0-5]").build());
 * // train, then
 * model.mergeAndUnload();
 * base.save(directory);  // a whole model that transformers loads
 * }</pre>
 *
 * <p>The trained parameters are float32 copies that belong to the adapter, so the base stays as it
 * is until it is merged, and one base can carry several. Training takes four times their size:
 * copies, gradients and two moments of AdamW. A good learning rate is a tenth of what adapters
 * take: {@value #LEARNING_RATE}.
 *
 * @param freeze what is not trained, see {@link ParameterPatterns}; may be empty
 */
public record FullConfig(List<String> freeze) implements PeftConfig {
  /** The learning rate to begin with. */
  public static final double LEARNING_RATE = 2e-5;

  static final String NAME = "FULL";
  static final String FREEZE = "freeze";

  /**
   * Checks and copies.
   *
   * @throws InvalidConfigException if a pattern is no regular expression
   */
  public FullConfig {
    freeze = List.copyOf(freeze);
    ParameterPatterns.check(FREEZE, freeze);
  }

  /**
   * Starts with nothing frozen.
   *
   * @return a builder
   */
  public static Builder builder() {
    return new Builder();
  }

  static FullConfig fromJson(ObjectNode json) {
    List<String> patterns = new ArrayList<>();
    JsonNode given = json.path(FREEZE);
    boolean list = given.isArray();
    for (JsonNode entry : list ? given : json.arrayNode()) {
      list &= entry.isTextual();
      patterns.add(entry.asText());
    }
    if (!list && !given.isMissingNode() && !given.isNull()) {
      throw new InvalidConfigException(FREEZE + " must be a list of patterns, was " + given);
    }
    return new FullConfig(patterns);
  }

  @Override
  public String peftType() {
    return NAME;
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("peft_type", NAME);
    ArrayNode patterns = json.putArray(FREEZE);
    freeze.forEach(patterns::add);
    return json;
  }

  /** Collects settings. For the use of one thread. */
  public static final class Builder {
    private List<String> freeze = List.of();

    private Builder() {}

    /**
     * Sets what is not trained.
     *
     * @param patterns see {@link ParameterPatterns}: {@code embed_tokens}, {@code layers.[0-5]}
     * @return this
     */
    public Builder freeze(String... patterns) {
      freeze = List.of(patterns);
      return this;
    }

    /**
     * Checks and makes the configuration.
     *
     * @return the configuration
     * @throws InvalidConfigException if a pattern is no regular expression
     */
    public FullConfig build() {
      return new FullConfig(freeze);
    }
  }
}
