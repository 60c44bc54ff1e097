package io.peft4j.qlora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.lora.LoraConfig;

/**
 * LoRA over a base in 4 bits: the adapter's configuration, and how the base is quantized.
 * Immutable.
 *
 * <p>Wrapping a base with it quantizes what of the base is not skipped, tensor by tensor; a base
 * that is in 4 bits already stays as it is. What is attached is a plain LoRA adapter, and is saved
 * as if the base were dense.
 *
 * <pre>{@code
 * QloraConfig config =
 *     QloraConfig.builder().lora(LoraConfig.builder().rank(16).targetModules("q_proj", "v_proj").build()).build();
 * try (PretrainedModel base = PretrainedModel.load(directory);
 *     PeftModel model = Peft.wrap(base, config)) { ... }
 * }</pre>
 */
public final class QloraConfig implements PeftConfig {
  static final String QUANTIZATION = "quantization_config";
  static final String INITIALIZATION = "init_lora_weights";

  private final LoraConfig lora;
  private final BitsAndBytesConfig quantization;
  private final QloraInitialization initialization;

  private QloraConfig(Builder builder) {
    lora = builder.lora;
    quantization = builder.quantization;
    initialization = builder.initialization;
  }

  /**
   * Starts a configuration.
   *
   * @return a builder: LoRA's defaults, over NF4 with double quantization in blocks of 64
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The adapter.
   *
   * @return its configuration
   */
  public LoraConfig lora() {
    return lora;
  }

  /**
   * How a base is quantized that is not yet.
   *
   * @return the configuration
   */
  public BitsAndBytesConfig quantization() {
    return quantization;
  }

  /**
   * What a new adapter begins with.
   *
   * @return the rule
   */
  public QloraInitialization initialization() {
    return initialization;
  }

  @Override
  public String peftType() {
    return QloraMethod.NAME;
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = lora.toJson();
    if (initialization.fitsError()) {
      json.put(INITIALIZATION, initialization.key());
    }
    json.set(QUANTIZATION, quantization.toJson());
    return json;
  }

  @Override
  public String toString() {
    return "QloraConfig" + toJson();
  }

  /** Collects a {@link QloraConfig}. */
  public static final class Builder {
    private LoraConfig lora = LoraConfig.builder().build();
    private BitsAndBytesConfig quantization =
        BitsAndBytesConfig.builder().doubleQuantization(true).build();
    private QloraInitialization initialization = QloraInitialization.LORA;

    private Builder() {}

    /**
     * Sets the adapter.
     *
     * @param config its configuration
     * @return this
     */
    public Builder lora(LoraConfig config) {
      lora = config;
      return this;
    }

    /**
     * Sets how a base is quantized that is not yet.
     *
     * @param config NF4 with double quantization if not set
     * @return this
     */
    public Builder quantization(BitsAndBytesConfig config) {
      quantization = config;
      return this;
    }

    /**
     * Sets what a new adapter begins with.
     *
     * @param rule as the LoRA configuration says if not set
     * @return this
     */
    public Builder initialization(QloraInitialization rule) {
      initialization = rule;
      return this;
    }

    /**
     * Finishes the configuration.
     *
     * @return the configuration
     * @throws InvalidConfigException if both LoRA's initialization and this one's are set
     */
    public QloraConfig build() {
      LoraConfig plain = LoraConfig.builder().build();
      if (initialization.fitsError() && !lora.initialization().equals(plain.initialization())) {
        throw new InvalidConfigException(
            "an adapter begins with what quantization has lost ("
                + initialization.key()
                + "), or as init_lora_weights of its LoRA configuration says, not both; given was "
                + lora.toJson().get(INITIALIZATION));
      }
      return new QloraConfig(this);
    }
  }
}
