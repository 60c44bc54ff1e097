package io.peft4j;

import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.nn.Block;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.PassSource;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.spi.Adapter;
import io.peft4j.target.ModelLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.function.Function;

/**
 * A base model with adapters. Several adapters share the one frozen base; which of them act is part
 * of each request ({@link #with}), and the model's own setting is only what is used when a request
 * names none. Which are trained is a second, separate set.
 *
 * <p>All methods may be called from any thread. A pass that has begun keeps the adapters and
 * weights it began with, whatever is merged, replaced or deleted meanwhile.
 *
 * <p>The caller closes the model, which frees its adapters and undoes a merge; the base model stays
 * the caller's.
 */
public final class PeftModel implements PassSource, AutoCloseable {
  private final Block base;
  private final Backbone backbone;
  private final AdapterRegistry adapters;
  private final Merging merging;
  private final AdapterAttachment attachment;
  private final Passes passes;

  /** Over a backbone that counts this model already; closing the model ends that. */
  PeftModel(Block base, Backbone backbone) {
    this.base = base;
    this.backbone = backbone;
    adapters = new AdapterRegistry(backbone.layout());
    merging = new Merging(backbone, adapters);
    attachment = new AdapterAttachment(backbone, adapters, merging);
    passes = new Passes(backbone, adapters, merging);
  }

  /**
   * Wraps a network with a saved adapter; the same as {@link Peft#load}.
   *
   * @param block this project's transformer, or any initialised DJL network
   * @param directory the adapter's directory
   * @return the model; the caller closes it
   */
  public static PeftModel load(Block block, Path directory) {
    return Peft.load(block, directory);
  }

  /**
   * Wraps the network of a DJL model with a saved adapter; the same as {@link Peft#load}.
   *
   * @param model a model with an initialised block
   * @param directory the adapter's directory
   * @return the model; the caller closes it
   */
  public static PeftModel load(Model model, Path directory) {
    return Peft.load(Peft.block(model), directory);
  }

  /**
   * The names, shapes and layers of the base.
   *
   * @return the layout
   */
  public ModelLayout layout() {
    return backbone.layout();
  }

  // --- adapters -------------------------------------------------------------------------------

  /**
   * Adds a new adapter, which neither acts nor is trained until it is asked to.
   *
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param config the adapter
   * @throws InvalidConfigException if the configuration does not fit the base
   * @throws AdapterStateException if the name is in use
   */
  public void addAdapter(String name, PeftConfig config) {
    attachment.add(name, config, null);
  }

  /**
   * Loads a saved adapter, which neither acts nor is trained until it is asked to.
   *
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param directory the adapter's directory
   * @throws MalformedFileException if the directory is missing, damaged or of no known kind
   * @throws AdapterStateException if the adapter does not fit the base, or the name is in use
   */
  public void loadAdapter(String name, Path directory) {
    attachment.load(name, directory);
  }

  /**
   * Adds an adapter from tensors in memory.
   *
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param config the adapter's configuration
   * @param tensors state key to float32 array, as {@link #stateDict} gives them; copied
   * @throws AdapterStateException if the tensors do not fit, or the name is in use
   */
  public void addAdapter(String name, PeftConfig config, Map<String, NDArray> tensors) {
    attachment.add(name, config, tensors);
  }

  /**
   * Adds an adapter that begins as another is now, which it shares nothing with afterwards. It
   * neither acts nor is trained until it is asked to.
   *
   * @param from the other
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @throws AdapterStateException if there is no such adapter, or the name is in use
   */
  public void copyAdapter(String from, String name) {
    attachment.copy(from, name);
  }

  /**
   * Deletes an adapter. Its memory goes when the last pass that uses it has ended. If it was active
   * it acts no more; if it is merged the merge is undone first.
   *
   * @param name the adapter
   * @throws AdapterStateException if there is none of that name
   */
  public void deleteAdapter(String name) {
    synchronized (adapters) {
      adapters.get(name);
      if (merging.includes(name)) {
        unmerge();
      }
      adapters.remove(name);
    }
  }

  /**
   * The adapters of this model.
   *
   * @return their names in the order in which they were added
   */
  public List<String> adapterNames() {
    return adapters.names();
  }

  /**
   * An adapter's tensors, layers and notes. It stays the model's; do not use it after deleting it.
   *
   * @param name the adapter, or one part of it ({@code mix/style})
   * @return the adapter
   * @throws AdapterStateException if there is none of that name
   */
  public Adapter adapter(String name) {
    return adapters.one(name);
  }

  /** Uses an adapter, which stays meanwhile even if it is deleted. */
  private <T> T use(String name, Function<Adapter, T> use) {
    Adapter adapter;
    synchronized (adapters) {
      adapter = adapters.one(name);
      adapter.retain();
    }
    try {
      return use.apply(adapter);
    } finally {
      adapter.release();
    }
  }

  // --- which act, which are trained -----------------------------------------------------------

  /**
   * Sets which adapters act when a request names none.
   *
   * @param names the adapters, at full strength; none for the base alone
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  public void setActiveAdapters(String... names) {
    setActiveAdapters(AdapterSet.of(names));
  }

  /**
   * Sets which adapters act when a request names none.
   *
   * @param set the adapters
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  public void setActiveAdapters(AdapterSet set) {
    adapters.activate(set);
  }

  /**
   * Which adapters act when a request names none.
   *
   * @return the set
   */
  public AdapterSet activeAdapters() {
    return adapters.active();
  }

  /** Lets no adapter act when a request names none: the base alone. */
  public void disableAdapters() {
    setActiveAdapters(AdapterSet.none());
  }

  /**
   * Sets which adapters are trained; the others keep their tensors as they are.
   *
   * @param names the adapters, or parts of them ({@code mix/style})
   * @throws AdapterStateException if one does not exist
   */
  public void trainAdapters(String... names) {
    adapters.train(Arrays.stream(names).distinct().toList());
  }

  /**
   * Which adapters are trained.
   *
   * @return their names
   */
  public List<String> trainedAdapters() {
    return adapters.trained();
  }

  /**
   * The tensors that training changes. Made anew when adapters are replaced: ask again then.
   *
   * @return the parameters of the trained adapters, each once
   */
  public List<TrainableParameter> trainableParameters() {
    return adapters.trainableParameters();
  }

  // --- computing ------------------------------------------------------------------------------

  /**
   * This model with chosen adapters, for one request or many.
   *
   * @param names the adapters, at full strength; none for the base alone
   * @return the view
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  public PeftView with(String... names) {
    return with(AdapterSet.of(names));
  }

  /**
   * This model with chosen adapters, for one request or many.
   *
   * @param set the adapters
   * @return the view
   * @throws AdapterStateException if one does not exist or they cannot act together
   */
  public PeftView with(AdapterSet set) {
    return passes.view(set);
  }

  /**
   * Computes the network with the active adapters, without dropout and gradients.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @return the outputs, which belong to the manager of the first input and to the caller's {@link
   *     NDScope}, if one is open
   */
  public NDList forward(NDList inputs) {
    return passes.forward(inputs, activeAdapters(), ForwardMode.INFERENCE);
  }

  /**
   * Computes the network with the active adapters.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param mode what the pass is for
   * @return the outputs, which belong to the manager of the first input and to the caller's {@link
   *     NDScope}, if one is open
   */
  public NDList forward(NDList inputs, ForwardMode mode) {
    return passes.forward(inputs, activeAdapters(), mode);
  }

  /**
   * This model as a DJL block whose parameters are those of the adapters that are trained now, for
   * DJL's own {@code Trainer}. The base's parameters are not among them, so that nothing un-freezes
   * them.
   *
   * @return a block that computes with the active adapters; it holds nothing to close
   */
  public Block block() {
    return new PeftBlock(this);
  }

  /**
   * A cache of saved adapters in front of this model, for more of them than there is memory for.
   *
   * @param budgetBytes how many bytes of adapters it may keep, from 0
   * @return the cache; the caller closes it, before this model
   */
  public AdapterCache cache(long budgetBytes) {
    return new AdapterCache(layout(), adapters, attachment, passes, budgetBytes);
  }

  @Override
  public Backbone backbone() {
    return backbone;
  }

  @Override
  public PassLease lease(long batch, int copies) {
    return passes.lease(batch, copies, activeAdapters());
  }

  /**
   * Computes a loss with the active adapters and adds its gradients, times a weight, to those that
   * the trained tensors hold. Arrays that this makes are freed.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param objective what is made small
   * @param mode whether dropout acts; with gradients
   * @param options how the step is computed
   * @param weight multiplies the gradients, not the result
   * @return the loss
   * @throws InvalidConfigException if the objective does not give a float32 scalar, or the mode
   *     records no gradients
   */
  public double accumulateGradients(
      NDList inputs,
      Objective objective,
      ForwardMode mode,
      TrainingOptions options,
      double weight) {
    return passes.accumulateGradients(inputs, activeAdapters(), objective, mode, options, weight);
  }

  // --- merging --------------------------------------------------------------------------------

  /**
   * Merges the active adapters into the base: W becomes W + s·B·A. Requests for the same set then
   * cost what the plain base costs; requests for others go on as before. {@link #unmerge} puts the
   * base back bit for bit, for which its weights are kept meanwhile. Adapters, and parts of
   * hybrids, that no weight can express stay live: they go on acting, beside the merged weights,
   * where the set is asked for. With no active adapters there is nothing to merge, and nothing
   * happens.
   *
   * @return what was folded into the weights, and what is live
   * @throws AdapterStateException if nothing of it can be merged, something is merged already, or
   *     another model is open over the same base; nothing is changed then
   */
  public MergeReport merge() {
    return merge(activeAdapters(), false);
  }

  /**
   * Merges the active adapters as {@link #merge()} does, but refuses NaN and infinity.
   *
   * @return what was folded into the weights, and what is live
   * @throws AdapterStateException also if a merged weight would not be finite; nothing is changed
   *     then
   */
  public MergeReport safeMerge() {
    return merge(activeAdapters(), true);
  }

  /**
   * Merges chosen adapters.
   *
   * @param set adapters that act on every row
   * @param safe whether to refuse NaN and infinity
   * @return what was folded into the weights, and what is live
   * @throws AdapterStateException if nothing of it can be merged, something else is merged already,
   *     another model is open over the same base, or a merged weight would not be finite; nothing
   *     is changed then
   */
  public MergeReport merge(AdapterSet set, boolean safe) {
    return merging.merge(set, safe);
  }

  /**
   * Merges chosen adapters into weights that are stored as the base's are: those of a base in 4
   * bits are quantized again, which loses a part of what the adapters do. {@link #merge} loses
   * nothing, and takes more memory. NaN and infinity are refused.
   *
   * @param set adapters that act on every row
   * @return what was lost, and how much the adapters do; empty if no weight is packed
   * @throws AdapterStateException if something is merged already, or as for {@link
   *     #merge(AdapterSet, boolean)}; nothing is changed then
   */
  public MergeReport mergeAsStored(AdapterSet set) {
    return merging.mergeAsStored(set);
  }

  /**
   * Puts the base back as it was before merging, bit for bit. Does nothing if nothing is merged.
   */
  public void unmerge() {
    merging.unmerge();
  }

  /**
   * The adapters that are merged.
   *
   * @return the set; none if nothing is merged
   */
  public AdapterSet mergedAdapters() {
    return merging.set();
  }

  /**
   * Merges the active adapters for good and closes this model.
   *
   * @return the base, now with merged weights; it was and stays the caller's
   * @throws AdapterStateException if merging is not possible, if something would stay live and be
   *     lost, or if passes compute with the weights of a stock network, whose own parameters are
   *     overwritten; nothing is changed then
   */
  public Block mergeAndUnload() {
    synchronized (adapters) {
      merging.keep(activeAdapters());
      return unload();
    }
  }

  /**
   * Closes this model, merging nothing.
   *
   * @return the base as it was before it was wrapped
   */
  public Block unload() {
    close();
    return base;
  }

  // --- state ----------------------------------------------------------------------------------

  /**
   * The tensors of an adapter as they are saved.
   *
   * @param name the adapter
   * @param owner owns the copies
   * @return state key ({@code base_model.model.} and the path, without the adapter's name) to a
   *     float32 copy
   */
  public SortedMap<String, NDArray> stateDict(String name, NDManager owner) {
    return use(name, adapter -> AdapterStates.copy(adapter, owner));
  }

  /**
   * Replaces the tensors of an adapter. Passes that have begun keep the old ones.
   *
   * @param name the adapter
   * @param tensors state key to float32 array, as {@link #stateDict} gives them; copied
   * @throws AdapterStateException if the tensors do not fit or the adapter is merged; nothing is
   *     changed then
   */
  public void loadStateDict(String name, Map<String, NDArray> tensors) {
    attachment.replace(name, tensors);
  }

  /**
   * Saves adapters in their own ecosystem's format. The one named {@value Peft#DEFAULT_ADAPTER}
   * goes into the directory itself, others into a directory of their name below it, as Hugging Face
   * PEFT does; a part of an adapter goes where it would be with the whole.
   *
   * @param directory the directory, made if it is missing
   * @param names the adapters, or parts of them; all adapters if none is named
   * @throws AdapterStateException if an adapter would overwrite a part of the one named {@value
   *     Peft#DEFAULT_ADAPTER}; save it by itself then
   */
  public void save(Path directory, String... names) {
    Map<String, Path> places = new LinkedHashMap<>();
    for (String name : names.length == 0 ? adapterNames() : List.of(names)) {
      places.putAll(AdapterName.parse(name).places(directory));
    }
    places.forEach(
        (name, place) -> {
          for (String part : adapter(name).parts().keySet()) {
            if (places.containsValue(place.resolve(part))) {
              throw new AdapterStateException(
                  "part '"
                      + part
                      + "' of '"
                      + name
                      + "' and another adapter would both be saved in "
                      + place.resolve(part)
                      + "; save them into directories of their own");
            }
          }
        });
    places.forEach(this::saveAs);
  }

  /**
   * Saves one adapter into a directory of its own.
   *
   * @param name the adapter
   * @param directory the directory, made if it is missing
   */
  public void saveAs(String name, Path directory) {
    use(name, adapter -> AdapterStates.save(adapter, backbone, directory));
  }

  // --- reports --------------------------------------------------------------------------------

  /**
   * How many values are trained and how many there are.
   *
   * @return the counts
   */
  public ParameterReport trainableParameterReport() {
    return adapters.report();
  }

  /**
   * What an adapter acts on and why.
   *
   * @param name the adapter
   * @return the adapted layers in model order
   */
  public List<Adapter.AdaptedLayer> layerReport(String name) {
    return adapter(name).adaptedLayers();
  }

  /**
   * How far an adapter moves the weights of its layers: after training, how far that has moved them
   * if it began without effect.
   *
   * @param name the adapter
   * @return the layers whose weight it changes, in model order; those where its effect fits into no
   *     weight are left out
   */
  public List<LayerDelta> layerDeltas(String name) {
    try (WeightSnapshot weights = merging.leaseBase()) {
      return use(
          name,
          adapter ->
              LayerDeltas.of(
                  layout(),
                  weights,
                  adapter.parts().isEmpty() ? List.of(adapter) : adapter.parts().values()));
    }
  }

  @Override
  public void close() {
    synchronized (adapters) {
      if (!adapters.closed()) {
        unmerge();
        adapters.close();
        backbone.weights().leave();
      }
    }
  }
}
