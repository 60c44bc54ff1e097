package io.peft4j.lora;

/** Which biases of the base an adapter trains, in copies of its own. */
public enum LoraBias {
  /** None. */
  NONE("none"),
  /** Every bias of the model. */
  ALL("all"),
  /** The biases of the adapted layers. */
  LORA_ONLY("lora_only");

  private final String key;

  LoraBias(String key) {
    this.key = key;
  }

  /**
   * The value in {@code adapter_config.json}.
   *
   * @return for example {@code lora_only}
   */
  public String key() {
    return key;
  }
}
