package io.peft4j.hybrid;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftConfig;
import java.util.ArrayList;
import java.util.List;

/**
 * A method for tests that acts where a sub-layer meets the residual, so that it cannot be merged: h
 * becomes h + v·tanh(h) with a trained vector v.
 *
 * @param joins paths of joins of width 8
 */
record NudgeConfig(List<String> joins) implements PeftConfig {
  static final String NAME = "NUDGE";

  static NudgeConfig of(String... joins) {
    return new NudgeConfig(List.of(joins));
  }

  static NudgeConfig fromJson(ObjectNode json) {
    List<String> names = new ArrayList<>();
    json.path("joins").forEach(name -> names.add(name.asText()));
    return new NudgeConfig(names);
  }

  @Override
  public String peftType() {
    return NAME;
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode().put("peft_type", NAME);
    joins.forEach(json.putArray("joins")::add);
    return json;
  }
}
