package io.peft4j;

import ai.djl.Model;
import ai.djl.nn.Block;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.StockBackbone;
import java.nio.file.Path;

/** Where it begins: wraps a network with an adapter. */
public final class Peft {
  /** The name an adapter gets when none is given. */
  public static final String DEFAULT_ADAPTER = "default";

  private Peft() {}

  /**
   * Wraps a network with a new adapter, named {@value #DEFAULT_ADAPTER}, that acts and is trained.
   *
   * @param block this project's transformer, or any initialised DJL network with float32
   *     parameters; it stays the caller's and must stay open as long as the model
   * @param config the adapter
   * @return the model; the caller closes it
   * @throws InvalidConfigException if the configuration does not fit the network
   */
  public static PeftModel wrap(Block block, PeftConfig config) {
    PeftModel model = open(block);
    try {
      model.addAdapter(DEFAULT_ADAPTER, config);
      model.setActiveAdapters(DEFAULT_ADAPTER);
      model.trainAdapters(DEFAULT_ADAPTER);
      return model;
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  /**
   * Wraps the network of a DJL model with a new adapter, named {@value #DEFAULT_ADAPTER}, that acts
   * and is trained.
   *
   * @param model a model with an initialised block; it stays the caller's
   * @param config the adapter
   * @return the model; the caller closes it
   * @throws InvalidConfigException if the configuration does not fit the network
   */
  public static PeftModel wrap(Model model, PeftConfig config) {
    return wrap(block(model), config);
  }

  /**
   * Opens a network without any adapter yet.
   *
   * @param block this project's transformer, or any initialised DJL network with float32
   *     parameters; it stays the caller's and must stay open as long as the model
   * @return the model; the caller closes it
   */
  public static PeftModel open(Block block) {
    if (!(block instanceof Backbone own)) {
      return new PeftModel(block, StockBackbone.enter(block));
    }
    own.weights().enter();
    return new PeftModel(block, own);
  }

  /**
   * Opens a network with a saved adapter, named {@value #DEFAULT_ADAPTER}, that acts and is not
   * trained.
   *
   * @param block this project's transformer, or any initialised DJL network with float32
   *     parameters; it stays the caller's
   * @param directory the adapter's directory
   * @return the model; the caller closes it
   * @throws MalformedFileException if the directory is missing, damaged or of no known kind
   * @throws AdapterStateException if the adapter does not fit the network
   */
  public static PeftModel load(Block block, Path directory) {
    PeftModel model = open(block);
    try {
      model.loadAdapter(DEFAULT_ADAPTER, directory);
      model.setActiveAdapters(DEFAULT_ADAPTER);
      return model;
    } catch (RuntimeException e) {
      model.close();
      throw e;
    }
  }

  static Block block(Model model) {
    Block block = model.getBlock();
    if (block == null) {
      throw new InvalidConfigException("the model '" + model.getName() + "' has no block yet");
    }
    return block;
  }
}
