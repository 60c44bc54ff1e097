package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import io.peft4j.AdapterStateException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What a method is given to make an adapter from. */
public final class AttachContext {
  private final Backbone backbone;
  private final WeightSnapshot weights;
  private final PeftConfig config;
  private final NDManager manager;
  private final @Nullable Map<String, NDArray> saved;
  private final String keyPrefix;

  /**
   * A context.
   *
   * @param backbone the base model
   * @param weights leased weights; the lease stays the caller's
   * @param config the adapter's configuration
   * @param manager owns the adapter's tensors
   * @param saved state key to float32 array, or null for a new adapter; the arrays stay the
   *     caller's
   */
  public AttachContext(
      Backbone backbone,
      WeightSnapshot weights,
      PeftConfig config,
      NDManager manager,
      @Nullable Map<String, NDArray> saved) {
    this(backbone, weights, config, manager, saved, "");
  }

  private AttachContext(
      Backbone backbone,
      WeightSnapshot weights,
      PeftConfig config,
      NDManager manager,
      @Nullable Map<String, NDArray> saved,
      String keyPrefix) {
    this.backbone = backbone;
    this.weights = weights;
    this.config = config;
    this.manager = manager;
    this.saved = saved;
    this.keyPrefix = keyPrefix;
  }

  /**
   * The context of a part of the adapter, see {@link AdapterBuilder#part}.
   *
   * @param part the part's configuration
   * @param tensors the part's saved tensors under its own keys; null for a new one
   * @param prefix what messages put before the part's keys
   * @return the same base, for the part
   */
  public AttachContext part(
      PeftConfig part, @Nullable Map<String, NDArray> tensors, String prefix) {
    return new AttachContext(backbone, weights, part, manager, tensors, keyPrefix + prefix);
  }

  /**
   * What messages put before a state key, so that it is the one that the user knows.
   *
   * @return the beginning of the whole adapter's keys; empty for an adapter of its own
   */
  String keyPrefix() {
    return keyPrefix;
  }

  /**
   * The configuration to attach.
   *
   * @param type the method's configuration class
   * @param <C> the method's configuration class
   * @return the configuration
   */
  public <C extends PeftConfig> C config(Class<C> type) {
    return type.cast(config);
  }

  /**
   * Names, shapes and layers of the base.
   *
   * @return the layout
   */
  public ModelLayout layout() {
    return backbone.layout();
  }

  /**
   * Tells whether layers can only be given other weights: then {@link
   * io.peft4j.nn.LayerAdapter#apply} is never called, and what needs it must be refused.
   *
   * @return true for stock networks
   */
  public boolean weightsOnly() {
    return backbone.weightsOnly();
  }

  /**
   * The base's weight at a layer.
   *
   * @param layer the layer
   * @return the weight, not to be closed
   */
  public Weight weight(LayerSpec layer) {
    return parameter(layer.weightName());
  }

  /**
   * A parameter of the base.
   *
   * @param name its name, perhaps a tied one
   * @return the parameter, not to be closed
   * @throws AdapterStateException if the base has none of that name
   */
  public Weight parameter(String name) {
    int index = layout().parameterIndex(name);
    if (index < 0) {
      throw new AdapterStateException("the base model has no parameter " + name);
    }
    return weights.weight(index);
  }

  /**
   * Owns the adapter's tensors: create them here.
   *
   * @return the manager; it is closed with the adapter
   */
  public NDManager manager() {
    return manager;
  }

  /**
   * A copy for the adapter.
   *
   * @param values any values
   * @return new float32 array that belongs to {@link #manager}
   */
  public NDArray own(NDArray values) {
    // toType shares memory where the type is the same already, whatever it is told.
    NDArray copy =
        values.getDataType() == DataType.FLOAT32
            ? values.duplicate()
            : values.toType(DataType.FLOAT32, true);
    copy.attach(manager);
    return copy;
  }

  /**
   * The tensors of a saved adapter that is being loaded.
   *
   * @return state key to float32 array, which are copied by whoever keeps them; empty for a new
   *     adapter
   */
  public Optional<Map<String, NDArray>> saved() {
    return Optional.ofNullable(saved);
  }
}
