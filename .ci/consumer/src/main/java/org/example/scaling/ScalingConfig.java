package org.example.scaling;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import java.util.ArrayList;
import java.util.List;

/**
 * Which linear layers are scaled.
 *
 * @param targetModules whole paths
 */
public record ScalingConfig(List<String> targetModules) implements PeftConfig {
  static final String NAME = "SCALING";

  /** Checks the targets. */
  public ScalingConfig {
    targetModules = List.copyOf(targetModules);
    if (targetModules.isEmpty()) {
      throw new InvalidConfigException("target_modules must name at least one layer");
    }
  }

  static ScalingConfig fromJson(ObjectNode json) {
    List<String> names = new ArrayList<>();
    json.path("target_modules").forEach(name -> names.add(name.asText()));
    return new ScalingConfig(names);
  }

  @Override
  public String peftType() {
    return NAME;
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode().put("peft_type", NAME);
    targetModules.forEach(json.putArray("target_modules")::add);
    return json;
  }
}
