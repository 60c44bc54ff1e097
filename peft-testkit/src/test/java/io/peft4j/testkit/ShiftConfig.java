package io.peft4j.testkit;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A method for tests that adds a trained vector to the outputs of linear layers.
 *
 * @param targets whole paths
 * @param fault what it does wrong
 */
record ShiftConfig(List<String> targets, Fault fault) implements PeftConfig {
  static final String NAME = "SHIFT";

  /** Mistakes that a method can make. */
  enum Fault {
    NONE,
    IGNORES_STRENGTH,
    FORGETS_TO_MERGE,
    MERGES_INTO_THE_BASE,
    DOES_NOT_START_AT_ZERO,
    TRAINS_THE_BASE,
    LEAKS,
    SAVES_LESS,
    ACCEPTS_ANY_STATE,
    MIXES_ROWS,
    RANDOM
  }

  static ShiftConfig of(String... targets) {
    return new ShiftConfig(Arrays.asList(targets), Fault.NONE);
  }

  ShiftConfig with(Fault other) {
    return new ShiftConfig(targets, other);
  }

  static ShiftConfig fromJson(ObjectNode json) {
    List<String> names = new ArrayList<>();
    json.path("targets").forEach(name -> names.add(name.asText()));
    return new ShiftConfig(names, Fault.valueOf(json.path("fault").asText()));
  }

  @Override
  public String peftType() {
    return NAME;
  }

  @Override
  public ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode().put("peft_type", NAME);
    targets.forEach(json.putArray("targets")::add);
    return json.put("fault", fault.name());
  }
}
