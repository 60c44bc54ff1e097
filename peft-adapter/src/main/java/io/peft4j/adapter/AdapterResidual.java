package io.peft4j.adapter;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.TextNode;

/** What goes round a sequential adapter's projections, {@code residual_before_ln} in files. */
public enum AdapterResidual {
  /** The sub-layer's output h. */
  OUTPUT(BooleanNode.TRUE),
  /** What the projections are given. */
  INPUT(BooleanNode.FALSE),
  /** h + x, before the model's norm; needs {@code original_ln_before}. */
  SUM(TextNode.valueOf("post_add"));

  private final JsonNode value;

  AdapterResidual(JsonNode value) {
    this.value = value;
  }

  JsonNode value() {
    return value;
  }
}
