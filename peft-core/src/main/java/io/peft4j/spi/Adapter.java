package io.peft4j.spi;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Acting;
import io.peft4j.nn.JoinAdapter;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.state.AdapterState;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * One adapter over one base: tensors, and what they do at which layer. Made by an {@link
 * AdapterBuilder}; owned by the model it was added to, freed when that model deletes it and the
 * last pass that uses it has ended.
 *
 * <p>An adapter may be made of parts, which are adapters themselves and share its tensors' owner.
 * It does nothing at any layer then: the parts, or those that a request names, act in its place.
 */
public final class Adapter implements Acting {
  private final PeftConfig config;
  private final NDManager manager;
  private final @Nullable LayerAdapter[] layers;
  private final Map<String, JoinAdapter> joins;
  private final @Nullable NDArray[] overrides;
  private final Map<String, NDArray> parameters;
  private final Map<String, NDArray> buffers;
  private final List<AdaptedLayer> adapted;
  private final List<String> notes;
  private final long borrowed;
  private final @Nullable Supplier<AdapterState> exporter;
  private final Map<String, Part> parts;
  private final Map<String, Adapter> partAdapters;

  /** What this is a part of; set before anybody sees it. */
  private @Nullable Adapter whole;

  private int leases = 1;

  Adapter(AdapterBuilder builder) {
    config = builder.config;
    manager = builder.manager;
    layers = builder.layers;
    joins = Map.copyOf(builder.joins);
    overrides = builder.overrides;
    parameters = Collections.unmodifiableMap(new LinkedHashMap<>(builder.parameters));
    buffers = Collections.unmodifiableMap(new LinkedHashMap<>(builder.buffers));
    adapted = List.copyOf(builder.adapted);
    notes = List.copyOf(builder.notes);
    borrowed = builder.borrowed;
    exporter = builder.exporter;
    parts = Collections.unmodifiableMap(new LinkedHashMap<>(builder.built));
    Map<String, Adapter> all = new LinkedHashMap<>();
    parts.forEach((name, part) -> all.put(name, part.adapter));
    all.values().forEach(part -> part.whole = this);
    partAdapters = Collections.unmodifiableMap(all);
  }

  /**
   * A part of an adapter.
   *
   * @param adapter what it does
   * @param keys makes the whole's state key from the part's own
   */
  record Part(Adapter adapter, UnaryOperator<String> keys) {}

  /**
   * A layer that an adapter acts on, for reports.
   *
   * @param path the layer's path
   * @param effect what acts there, for example {@code r=8 alpha=16 scaling=2.0}
   * @param reason why the layer was chosen, for example {@code target_modules 'query'}
   */
  public record AdaptedLayer(String path, String effect, String reason) {}

  /**
   * The configuration it was made from.
   *
   * @return the configuration
   */
  public PeftConfig config() {
    return config;
  }

  @Override
  public @Nullable LayerAdapter layer(int slot) {
    return layers[slot];
  }

  @Override
  public @Nullable JoinAdapter join(String path) {
    return joins.get(path);
  }

  @Override
  public List<String> joinPaths() {
    return joins.keySet().stream().sorted().toList();
  }

  @Override
  public @Nullable NDArray override(int index) {
    return overrides[index];
  }

  /**
   * What this adapter is made of.
   *
   * @return name to part, in order; empty if it acts itself
   */
  public Map<String, Adapter> parts() {
    return partAdapters;
  }

  /**
   * The tensors of some parts that training changes, under the keys of the whole.
   *
   * @param names the parts; none for {@link #parameters() all there is}
   * @return state key to float32 array, owned by this adapter
   */
  public Map<String, NDArray> parameters(List<String> names) {
    if (names.isEmpty()) {
      return parameters;
    }
    Map<String, NDArray> some = new LinkedHashMap<>();
    parts.forEach(
        (name, part) -> {
          if (names.contains(name)) {
            part.adapter.parameters.forEach((key, array) -> some.put(part.keys.apply(key), array));
          }
        });
    return Collections.unmodifiableMap(some);
  }

  /**
   * A parameter of the base of which both this adapter and another bring a copy.
   *
   * @param other an adapter of the same base
   * @return the parameter's index, or -1 if there is none
   */
  public int sharedOverride(Adapter other) {
    for (int i = 0; i < overrides.length; i++) {
      if (overrides[i] != null && other.overrides[i] != null) {
        return i;
      }
    }
    return -1;
  }

  /**
   * The tensors that training changes.
   *
   * @return state key to float32 array, owned by this adapter
   */
  public Map<String, NDArray> parameters() {
    return parameters;
  }

  /**
   * The layers it acts on, in model order.
   *
   * @return path, effect and reason of each
   */
  public List<AdaptedLayer> adaptedLayers() {
    return adapted;
  }

  /**
   * What the method had to say when it attached, for example entries of a loaded configuration that
   * match nothing.
   *
   * @return a sentence each
   */
  public List<String> notes() {
    return notes;
  }

  /**
   * How many values of {@link #parameters()} stand for parameters of the base that Hugging Face
   * PEFT trains in place, and so does not count as added.
   *
   * @return number of values
   */
  public long borrowedValues() {
    return borrowed;
  }

  /**
   * The adapter as it is saved. Arrays that had to be made are registered with the caller's {@link
   * ai.djl.ndarray.NDScope}, the others are the live ones: copy what is to be kept.
   *
   * @return configuration and tensors
   */
  public AdapterState state() {
    if (exporter != null) {
      return exporter.get();
    }
    TreeMap<String, NDArray> tensors = new TreeMap<>(parameters);
    tensors.putAll(buffers);
    return new AdapterState(config.toJson(), tensors);
  }

  /**
   * Starts or stops recording gradients for its parameters.
   *
   * @param trained whether it is trained
   */
  public void train(boolean trained) {
    for (NDArray array : parameters.values()) {
      if (array.hasGradient() != trained) {
        array.setRequiresGradient(trained);
      }
    }
  }

  /**
   * How much native memory it takes: the bytes of all tensors that it owns, without gradients.
   *
   * @return number of bytes; 0 when it has been freed
   */
  public long bytes() {
    long bytes = 0;
    for (NDArray array : manager.getManagedArrays()) {
      bytes += array.getShape().size() * array.getDataType().getNumOfBytes();
    }
    return bytes;
  }

  /**
   * Tells whether anyone has a lease beside the adapter's owner.
   *
   * @return true as long as a pass uses it
   */
  public synchronized boolean inUse() {
    return leases > 1;
  }

  /**
   * Begins a lease: the tensors stay until it ends. A part is leased with the whole.
   *
   * @throws AdapterStateException if the adapter has been deleted and freed
   */
  public synchronized void retain() {
    if (whole != null) {
      whole.retain();
      return;
    }
    if (leases == 0) {
      throw new AdapterStateException("the adapter has been deleted");
    }
    leases++;
  }

  /** Ends a lease; the last one frees the tensors. */
  public synchronized void release() {
    if (whole != null) {
      whole.release();
      return;
    }
    if (--leases == 0) {
      manager.close();
    }
  }
}
