package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.Model;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a model says when it refuses, word for word, with a method for tests. */
final class ModelMessagesTest {
  private static final ShiftConfig CONFIG = ShiftConfig.of("layers.0.up");

  private TestNetwork network;
  private NDManager manager;
  private PeftModel model;

  @BeforeEach
  void open() {
    network = TestNetwork.tiny();
    manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
    model = Peft.wrap(network.block(), CONFIG);
  }

  @AfterEach
  void close() {
    model.close();
    manager.close();
    network.close();
  }

  private static void refused(
      Class<? extends PeftException> type, String message, Runnable action) {
    assertEquals(message, assertThrows(type, action::run).getMessage());
  }

  private static void refused(String message, Runnable action) {
    refused(AdapterStateException.class, message, action);
  }

  @Test
  void namesOfAdapters() {
    refused(
        "there is no adapter 'style'; the model has [default]", () -> model.deleteAdapter("style"));
    refused(
        "there is no adapter 'style'; the model has [default]",
        () -> model.with("default", "style"));
    refused("there is an adapter 'default' already", () -> model.addAdapter("default", CONFIG));
    refused(
        InvalidConfigException.class,
        "an adapter name is made of letters, digits, '_' and '-' and is not '__base__'; got 'a b'",
        () -> model.addAdapter("a b", CONFIG));
  }

  @Test
  void rowsOfABatch() {
    refused(
        "an adapter is named for 2 rows, but the batch has 4 rows",
        () -> model.with(AdapterSet.rows("default", "__base__")).forward(network.inputs(manager)));
  }

  @Test
  void merging() {
    model.addAdapter("b", CONFIG);
    model.merge();
    refused(
        "adapters {default=1.0} are merged already: unmerge before merging {b=1.0}",
        () -> model.merge(AdapterSet.of("b"), false));
    refused(
        "adapters {default=1.0} are merged: unmerge before training",
        () -> model.forward(network.inputs(manager), ForwardMode.TRAINING));
    refused(
        "adapter 'default' is merged: unmerge first",
        () -> model.loadStateDict("default", model.stateDict("default", manager)));
    refused(
        "the adapters of another model are merged into this base: unmerge them, or close that"
            + " model, before opening one more",
        () -> Peft.open(network.block()));
    model.unmerge();
    refused(
        "adapters that are chosen by row cannot be merged",
        () -> model.merge(AdapterSet.rows("b"), false));
    model.addAdapter("c", ShiftConfig.of("layers.0.down"));
    refused(
        "layers.0.down cannot be merged: the adapter has a bias and the layer has none to add it to",
        () -> model.merge(AdapterSet.of("c"), false));
    try (PeftModel other = Peft.open(network.block())) {
      assertEquals(List.of(), other.adapterNames());
      refused("another model is open over the same base: close it before merging", model::merge);
    }
  }

  @Test
  void afterClosing() {
    model.close();
    refused("the model has been closed", () -> model.forward(network.inputs(manager)));
    refused("the model has been closed", model::merge);
    refused("the model has been closed", () -> model.addAdapter("a", CONFIG));
    network.close();
    refused("the base model has been closed", () -> Peft.open(network.block()));
    network = TestNetwork.tiny();
  }

  @Test
  void aModelWithoutANetwork() {
    try (Model empty = Model.newInstance("empty", Device.cpu(), "PyTorch")) {
      refused(
          InvalidConfigException.class,
          "the model 'empty' has no block yet",
          () -> Peft.wrap(empty, CONFIG));
      empty.setBlock(network.block());
      try (PeftModel wrapped = Peft.wrap(empty, CONFIG)) {
        assertEquals(List.of("default"), wrapped.adapterNames());
      }
    }
  }

  @Test
  void anUnknownMethod(@TempDir Path directory) throws IOException {
    PeftConfig unknown = new UnknownConfig();
    refused(
        InvalidConfigException.class,
        "no method on the class path attaches a UnknownConfig; found: SHIFT",
        () -> model.addAdapter("a", unknown));
    refused(
        MalformedFileException.class,
        "there is no adapter directory " + directory.resolve("none"),
        () -> model.loadAdapter("a", directory.resolve("none")));
    Files.writeString(directory.resolve("adapter_config.json"), unknown.toJson().toString());
    refused(
        MalformedFileException.class,
        directory
            + " holds no adapter that a method on the class path recognises (an"
            + " adapter_config.json whose peft_type is one of SHIFT)",
        () -> model.loadAdapter("a", directory));
  }

  private record UnknownConfig() implements PeftConfig {
    @Override
    public String peftType() {
      return "UNKNOWN";
    }

    @Override
    public ObjectNode toJson() {
      return JsonNodeFactory.instance.objectNode().put("peft_type", "UNKNOWN");
    }
  }

  @Test
  void aWrapperThatFailsLeavesTheBaseOpen() {
    model.close();
    int live = LiveArrays.count();
    refused(
        InvalidConfigException.class,
        "there is no layer nowhere",
        () -> Peft.wrap(network.block(), ShiftConfig.of("nowhere")));
    LiveArrays.assertCount(live, "a refused configuration");
    try (PeftModel again = Peft.wrap(network.block(), CONFIG)) {
      again.merge();
      assertTrue(again.adapterNames().contains("default"));
    }
  }
}
