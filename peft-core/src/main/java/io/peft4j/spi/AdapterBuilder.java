package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.JoinAdapter;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.spi.Adapter.AdaptedLayer;
import io.peft4j.state.AdapterState;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Collects what a method attaches. */
public final class AdapterBuilder {
  final PeftConfig config;
  final NDManager manager;
  final Map<String, JoinAdapter> joins = new LinkedHashMap<>();
  final @Nullable LayerAdapter[] layers;
  final @Nullable NDArray[] overrides;
  final Map<String, NDArray> parameters = new LinkedHashMap<>();
  final Map<String, NDArray> buffers = new LinkedHashMap<>();
  final List<AdaptedLayer> adapted = new ArrayList<>();
  final List<String> notes = new ArrayList<>();
  long borrowed;
  @Nullable Supplier<AdapterState> exporter;
  final Map<String, Adapter.Part> built = new LinkedHashMap<>();
  private final ModelLayout layout;

  /**
   * An empty adapter.
   *
   * @param layout the base's layout
   * @param config the adapter's configuration
   * @param manager owns the adapter's tensors; closed with the adapter
   */
  public AdapterBuilder(ModelLayout layout, PeftConfig config, NDManager manager) {
    this.layout = layout;
    this.config = config;
    this.manager = manager;
    layers = new LayerAdapter[layout.layers().size()];
    overrides = new NDArray[layout.parameterNames().size()];
  }

  /**
   * Adds a tensor that training changes.
   *
   * @param key state key
   * @param array float32 array; the adapter owns it from now on
   * @return the array
   */
  public NDArray parameter(String key, NDArray array) {
    return put(parameters, key, array);
  }

  /**
   * Adds a tensor that is saved but not trained.
   *
   * @param key state key
   * @param array float32 array; the adapter owns it from now on
   * @return the array
   */
  public NDArray buffer(String key, NDArray array) {
    return put(buffers, key, array);
  }

  /**
   * Keeps a tensor that is neither saved under a key of its own nor trained.
   *
   * @param array float32 array; the adapter owns it from now on
   * @return the array
   */
  public NDArray keep(NDArray array) {
    array.attach(manager);
    NDScope.unregister(array);
    return array;
  }

  private NDArray put(Map<String, NDArray> to, String key, NDArray array) {
    if (parameters.containsKey(key) || buffers.containsKey(key)) {
      throw new InvalidConfigException("two tensors of one adapter have the state key " + key);
    }
    keep(array);
    to.put(key, array);
    return array;
  }

  /**
   * Lets something act at a layer, after what acts there already.
   *
   * @param layer the layer
   * @param effect what acts
   * @param reason why the layer was chosen, for reports
   */
  public void at(LayerSpec layer, LayerAdapter effect, String reason) {
    LayerAdapter before = layers[layer.slot()];
    layers[layer.slot()] = before == null ? effect : new ChainedLayerAdapter(before, effect);
    adapted.add(new AdaptedLayer(layer.path(), effect.describe(), reason));
  }

  /**
   * Lets something act where a sub-layer meets the residual.
   *
   * @param path the join's path
   * @param effect what acts
   * @param reason why the join was chosen, for reports
   */
  public void atJoin(String path, JoinAdapter effect, String reason) {
    if (joins.putIfAbsent(path, effect) != null) {
      throw new InvalidConfigException("one adapter acts on the join " + path + " twice");
    }
    report(path, effect.describe(), reason);
  }

  /**
   * Names something that the adapter acts on, for reports; {@link #at} does it by itself.
   *
   * @param path path of the layer or parameter
   * @param effect what acts there
   * @param reason why it was chosen
   */
  public void report(String path, String effect, String reason) {
    adapted.add(new AdaptedLayer(path, effect, reason));
  }

  /**
   * Puts a trained copy in the place of one of the base's parameters.
   *
   * @param parameter the parameter's name, perhaps a tied one
   * @param key state key of the copy
   * @param copy float32 array; the adapter owns it from now on
   * @param borrowed whether Hugging Face PEFT trains the base's own parameter here, and so does not
   *     count it as added
   */
  public void override(String parameter, String key, NDArray copy, boolean borrowed) {
    put(parameter, parameter(key, copy));
    if (borrowed) {
      this.borrowed += copy.getShape().size();
    }
  }

  /**
   * Puts a copy that {@link #override} took in the place of one more parameter, one that is tied to
   * the first.
   *
   * @param parameter the tied name
   * @param copy the copy
   */
  public void overrideTied(String parameter, NDArray copy) {
    put(parameter, copy);
  }

  /**
   * Puts a copy that is not trained in the place of one of the base's parameters.
   *
   * @param parameter the parameter's name, perhaps a tied one
   * @param key state key of the copy
   * @param copy float32 array; the adapter owns it from now on
   * @return the copy
   */
  public NDArray frozenOverride(String parameter, String key, NDArray copy) {
    put(parameter, buffer(key, copy));
    return copy;
  }

  private void put(String parameter, NDArray copy) {
    int index = layout.parameterIndex(parameter);
    if (index < 0) {
      throw new AdapterStateException("the base model has no parameter " + parameter);
    }
    if (overrides[index] != null) {
      throw new InvalidConfigException("the adapter copies " + parameter + " twice");
    }
    overrides[index] = copy;
  }

  /**
   * The trained tensors added so far.
   *
   * @return state key to array, in the order in which they were added
   */
  public Map<String, NDArray> parameters() {
    return Collections.unmodifiableMap(parameters);
  }

  /**
   * Adds a sentence for the user, for example about an entry that matches nothing.
   *
   * @param note the sentence
   */
  public void note(String note) {
    notes.add(note);
  }

  /**
   * Sets how the adapter is saved, where that is not simply its tensors.
   *
   * @param exporter makes configuration and tensors
   */
  public void exportAs(Supplier<AdapterState> exporter) {
    this.exporter = exporter;
  }

  /**
   * Makes this an adapter of parts and adds one; it acts at no layer by itself then.
   *
   * @param name the part, for requests and reports
   * @param context the part's own configuration and tensors, see {@link AttachContext#part}
   * @param method attaches the part
   * @param keys makes the state key of the whole from the part's own
   * @return the part; it lives as long as the whole
   */
  public Adapter part(
      String name, AttachContext context, PeftMethod method, UnaryOperator<String> keys) {
    PeftConfig partConfig = context.config(PeftConfig.class);
    AdapterBuilder builder = new AdapterBuilder(layout, partConfig, manager);
    method.attach(context, builder);
    Adapter part = builder.build();
    if (built.putIfAbsent(name, new Adapter.Part(part, keys)) != null) {
      throw new InvalidConfigException("two parts of one adapter are named '" + name + "'");
    }
    builder.parameters.forEach((key, array) -> put(parameters, keys.apply(key), array));
    builder.buffers.forEach((key, array) -> put(buffers, keys.apply(key), array));
    for (AdaptedLayer layer : builder.adapted) {
      report(layer.path(), name + ": " + layer.effect(), layer.reason());
    }
    builder.notes.forEach(note -> note(name + ": " + note));
    borrowed += builder.borrowed;
    return part;
  }

  /**
   * Tells whether nothing has been attached.
   *
   * @return true if there are no layers and no tensors
   */
  public boolean isEmpty() {
    return adapted.isEmpty() && parameters.isEmpty();
  }

  /**
   * Finishes the adapter.
   *
   * @return the adapter, leased once
   */
  public Adapter build() {
    return new Adapter(this);
  }
}
