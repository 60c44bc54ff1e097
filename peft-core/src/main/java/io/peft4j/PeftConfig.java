package io.peft4j;

import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * The configuration of one adapter. Immutable; made by a builder that checks it. Each method brings
 * its own, for example {@code LoraConfig}.
 */
public interface PeftConfig {

  /**
   * The method's name as {@code adapter_config.json} writes it under {@code peft_type}.
   *
   * @return for example {@code LORA}
   */
  String peftType();

  /**
   * The content of {@code adapter_config.json}, with Hugging Face's keys.
   *
   * @return a new object
   */
  ObjectNode toJson();
}
