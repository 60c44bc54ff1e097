package io.peft4j;

import ai.djl.Model;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.nn.Block;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.PassSource;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import io.peft4j.spi.Adapter;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.spi.Preparation;
import io.peft4j.state.SavedAdapter;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Scopes;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.SortedMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

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
  private final Object lock = new Object();
  private final Block base;
  private final Backbone backbone;
  private final AdapterRegistry adapters;
  private volatile AdapterSet active = AdapterSet.none();
  private List<String> trained = List.of();
  private @Nullable Merged merged;
  private boolean closed;

  private record Merged(AdapterSet set, WeightStore.Replacement replacement) {}

  /** Over a backbone that counts this model already; closing the model ends that. */
  PeftModel(Block base, Backbone backbone) {
    this.base = base;
    this.backbone = backbone;
    adapters = new AdapterRegistry(backbone.layout());
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
    checkFree(name);
    try (Preparation prepared = PeftMethods.of(config).prepare(backbone, config)) {
      PeftConfig own = prepared.config();
      install(name, PeftMethods.of(own), own, null, prepared.beginnings(), null);
    }
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
    checkFree(name);
    PeftMethod method = PeftMethods.of(directory);
    try (SavedAdapter saved = method.read(directory);
        NDManager tensors = NDManager.newBaseManager(backbone.device(), "PyTorch")) {
      install(name, method, saved.config(), saved.tensors(tensors), Map.of(), null);
    }
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
    checkFree(name);
    install(name, PeftMethods.of(config), config, tensors, Map.of(), null);
  }

  /**
   * Deletes an adapter. Its memory goes when the last pass that uses it has ended. If it was active
   * it acts no more; if it is merged the merge is undone first.
   *
   * @param name the adapter
   * @throws AdapterStateException if there is none of that name
   */
  public void deleteAdapter(String name) {
    synchronized (lock) {
      adapters.get(name);
      if (isMerged(name)) {
        unmerge();
      }
      active = without(active, name);
      trained = trained.stream().filter(other -> !other.equals(name)).toList();
      adapters.remove(name);
    }
  }

  private static AdapterSet without(AdapterSet set, String name) {
    if (!set.names().contains(name)) {
      return set;
    }
    AdapterSet rest = AdapterSet.none();
    if (set.rows().isEmpty()) {
      for (Map.Entry<String, Float> entry : set.strengths().entrySet()) {
        rest = entry.getKey().equals(name) ? rest : rest.and(entry.getKey(), entry.getValue());
      }
    }
    return rest;
  }

  /**
   * The adapters of this model.
   *
   * @return their names in the order in which they were added
   */
  public List<String> adapterNames() {
    synchronized (lock) {
      return adapters.names();
    }
  }

  /**
   * An adapter's tensors, layers and notes. It stays the model's; do not use it after deleting it.
   *
   * @param name the adapter
   * @return the adapter
   * @throws AdapterStateException if there is none of that name
   */
  public Adapter adapter(String name) {
    synchronized (lock) {
      return adapters.get(name);
    }
  }

  /** Uses an adapter, which stays meanwhile even if it is deleted. */
  private <T> T use(String name, Function<Adapter, T> use) {
    Adapter adapter;
    synchronized (lock) {
      adapter = adapters.get(name);
      adapter.retain();
    }
    try {
      return use.apply(adapter);
    } finally {
      adapter.release();
    }
  }

  private void checkFree(String name) {
    AdapterSet.checkName(name);
    synchronized (lock) {
      if (adapters.contains(name)) {
        throw new AdapterStateException("there is an adapter '" + name + "' already");
      }
    }
  }

  private void install(
      String name,
      PeftMethod method,
      PeftConfig config,
      @Nullable Map<String, NDArray> tensors,
      Map<String, NDArray> beginnings,
      @Nullable Adapter replaced) {
    NDManager owner = NDManager.newBaseManager(backbone.device(), "PyTorch");
    Adapter adapter;
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        WeightSnapshot weights = leaseBase()) {
      scope.suppressNotUsedWarning();
      AdapterBuilder builder = new AdapterBuilder(layout(), config, owner);
      method.attach(new AttachContext(backbone, weights, config, owner, tensors), builder);
      beginnings.forEach((key, values) -> values.copyTo(builder.parameters().get(key)));
      adapter = builder.build();
    } catch (RuntimeException e) {
      owner.close();
      throw e;
    }
    synchronized (lock) {
      if (closed || (adapters.contains(name) ? adapters.get(name) : null) != replaced) {
        adapter.release();
        throw new AdapterStateException(
            closed ? "the model has been closed" : "adapter '" + name + "' changed meanwhile");
      }
      if (isMerged(name)) {
        adapter.release();
        throw new AdapterStateException("adapter '" + name + "' is merged: unmerge first");
      }
      adapters.put(name, adapter);
      adapter.train(trained.contains(name));
    }
  }

  /** The base's own weights, whatever is merged. */
  private WeightSnapshot leaseBase() {
    synchronized (lock) {
      return merged == null ? backbone.weights().lease() : merged.replacement().leaseBefore();
    }
  }

  private boolean isMerged(String name) {
    return merged != null && merged.set().names().contains(name);
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
    synchronized (lock) {
      adapters.check(set);
      active = set;
    }
  }

  /**
   * Which adapters act when a request names none.
   *
   * @return the set
   */
  public AdapterSet activeAdapters() {
    return active;
  }

  /** Lets no adapter act when a request names none: the base alone. */
  public void disableAdapters() {
    setActiveAdapters(AdapterSet.none());
  }

  /**
   * Sets which adapters are trained; the others keep their tensors as they are.
   *
   * @param names the adapters
   * @throws AdapterStateException if one does not exist
   */
  public void trainAdapters(String... names) {
    synchronized (lock) {
      List<String> wanted = Arrays.stream(names).distinct().toList();
      wanted.forEach(adapters::get);
      adapters.all().forEach((name, adapter) -> adapter.train(wanted.contains(name)));
      trained = wanted;
    }
  }

  /**
   * Which adapters are trained.
   *
   * @return their names
   */
  public List<String> trainedAdapters() {
    synchronized (lock) {
      return trained;
    }
  }

  /**
   * The tensors that training changes. Made anew when adapters are replaced: ask again then.
   *
   * @return the parameters of the trained adapters
   */
  public List<TrainableParameter> trainableParameters() {
    synchronized (lock) {
      List<TrainableParameter> all = new ArrayList<>();
      for (String name : trained) {
        adapters
            .get(name)
            .parameters()
            .forEach((key, array) -> all.add(new TrainableParameter(name, key, array)));
      }
      return all;
    }
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
    synchronized (lock) {
      adapters.check(set);
    }
    return new PeftView(this, set);
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
    return forward(inputs, active, ForwardMode.INFERENCE);
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
    return forward(inputs, active, mode);
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

  @Override
  public Backbone backbone() {
    return backbone;
  }

  @Override
  public PassLease lease(long batch, int copies) {
    return lease(batch, copies, active, ForwardMode.INFERENCE);
  }

  NDList forward(NDList inputs, AdapterSet set, ForwardMode mode) {
    // Inputs without rows are for the network to refuse, which knows what it takes.
    boolean hasRows = !inputs.isEmpty() && !inputs.head().isScalar();
    long batch = hasRows ? inputs.head().getShape().get(0) : set.rows().size();
    try (PassLease lease = lease(batch, 1, set, mode);
        GradMode grad = GradMode.set(mode.gradients())) {
      return Scopes.outputs(
          inputs, () -> lease.restore(backbone.forward(lease.pass(), lease.order(inputs))));
    }
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
    if (!mode.gradients()) {
      throw new InvalidConfigException("gradients need a training mode, given was " + mode);
    }
    try (NDScope scope = new NDScope();
        PassLease lease = lease(inputs.head().getShape().get(0), 1, active, mode, options);
        GradMode on = GradMode.on()) {
      scope.suppressNotUsedWarning();
      if (lease.pass().weights().isPacked()) {
        // A recorded product keeps what it has unpacked: all layers together are the dense base.
        lease.pass().recomputeLayers();
      }
      NextTokens tokens = objective.nextTokens();
      if (tokens != null) {
        NDArray labels = lease.order(new NDList(tokens.labels())).head();
        OptionalDouble found =
            backbone.accumulateGradients(
                lease.pass(),
                lease.order(inputs),
                new NextTokens(labels, tokens.smoothing()),
                weight);
        if (found.isPresent()) {
          return found.getAsDouble();
        }
      }
      NDArray loss =
          objective.compute(lease.restore(backbone.forward(lease.pass(), lease.order(inputs))));
      double value = Objective.backward(loss, weight);
      lease.pass().backward();
      return value;
    }
  }

  PassLease lease(long batch, int copies, AdapterSet set, ForwardMode mode) {
    return lease(batch, copies, set, mode, TrainingOptions.PLAIN);
  }

  private PassLease lease(
      long batch, int copies, AdapterSet set, ForwardMode mode, TrainingOptions options) {
    if (!set.rows().isEmpty() && set.rows().size() != batch) {
      throw new AdapterStateException(
          "an adapter is named for "
              + set.rows().size()
              + " rows, but the batch has "
              + batch
              + " rows");
    }
    synchronized (lock) {
      if (closed) {
        throw new AdapterStateException("the model has been closed");
      }
      adapters.check(set);
      boolean asMerged = merged != null && merged.set().equals(set);
      if (asMerged && mode.gradients()) {
        throw new AdapterStateException("adapters " + set + " are merged: unmerge before training");
      }
      WeightSnapshot weights = asMerged ? backbone.weights().lease() : leaseBase();
      AdapterSet acting = asMerged ? AdapterSet.none() : set;
      RowOrder rows =
          acting.rows().isEmpty() ? null : new RowOrder(acting.rows(), copies, adapters);
      List<Segment> segments = rows == null ? List.of(adapters.segment(acting)) : rows.segments();
      return new AdaptedPass(
          new Pass(weights, segments, mode.dropout(), options),
          adapters.lease(acting),
          rows,
          new AtomicBoolean());
    }
  }

  // --- merging --------------------------------------------------------------------------------

  /**
   * Merges the active adapters into the base: W becomes W + s·B·A. Requests for the same set then
   * cost what the plain base costs; requests for others go on as before. {@link #unmerge} puts the
   * base back bit for bit, for which its weights are kept meanwhile. With no active adapters there
   * is nothing to merge, and nothing happens.
   *
   * @throws AdapterStateException if an adapter cannot be merged, something is merged already, or
   *     another model is open over the same base; nothing is changed then
   */
  public void merge() {
    merge(active, false);
  }

  /**
   * Merges the active adapters as {@link #merge()} does, but refuses NaN and infinity.
   *
   * @throws AdapterStateException also if a merged weight would not be finite; nothing is changed
   *     then
   */
  public void safeMerge() {
    merge(active, true);
  }

  /**
   * Merges chosen adapters.
   *
   * @param set adapters that act on every row
   * @param safe whether to refuse NaN and infinity
   * @throws AdapterStateException if an adapter cannot be merged, something else is merged already,
   *     another model is open over the same base, or a merged weight would not be finite; nothing
   *     is changed then
   */
  public void merge(AdapterSet set, boolean safe) {
    merge(set, safe ? Merger.Form.FINITE_VALUES : Merger.Form.VALUES);
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
    AdapterSet before = mergedAdapters();
    if (!before.isNone()) {
      throw new AdapterStateException(
          "adapters " + before + " are merged already: unmerge before merging as stored");
    }
    return merge(set, Merger.Form.AS_STORED);
  }

  private MergeReport merge(AdapterSet set, Merger.Form form) {
    if (!set.rows().isEmpty()) {
      throw new AdapterStateException("adapters that are chosen by row cannot be merged");
    }
    // Computed outside the lock, so that requests go on meanwhile.
    List<Adapter> held;
    Segment segment;
    WeightSnapshot weights;
    synchronized (lock) {
      if (isMergedOrNothing(set)) {
        return new MergeReport(List.of());
      }
      segment = adapters.segment(set);
      weights = backbone.weights().lease();
      held = adapters.lease(set);
    }
    try {
      Merger.Result result = Merger.merge(layout(), weights, segment, form);
      install(set, held, result.weights());
      return result.report();
    } finally {
      held.forEach(Adapter::release);
      weights.close();
    }
  }

  private void install(AdapterSet set, List<Adapter> held, Map<Integer, Weight> result) {
    boolean installed = false;
    try {
      synchronized (lock) {
        if (isMergedOrNothing(set)) {
          return;
        }
        if (!held.equals(set.names().stream().map(adapters::get).toList())) {
          throw new AdapterStateException("adapters " + set + " were replaced while being merged");
        }
        synchronized (backbone.weights()) {
          checkAlone();
          merged = new Merged(set, backbone.weights().replace(result));
        }
        installed = true;
      }
    } finally {
      if (!installed) {
        result.values().forEach(Weight::close);
      }
    }
  }

  /** Whether there is nothing to do; refuses what cannot be done. */
  private boolean isMergedOrNothing(AdapterSet set) {
    if (closed) {
      throw new AdapterStateException("the model has been closed");
    }
    adapters.check(set);
    if (merged == null) {
      checkAlone();
      return set.isNone();
    }
    if (!merged.set().equals(set)) {
      throw new AdapterStateException(
          "adapters " + merged.set() + " are merged already: unmerge before merging " + set);
    }
    return true;
  }

  private void checkAlone() {
    if (backbone.weights().wrappers() > 1) {
      throw new AdapterStateException(
          "another model is open over the same base: close it before merging");
    }
  }

  /**
   * Puts the base back as it was before merging, bit for bit. Does nothing if nothing is merged.
   */
  public void unmerge() {
    synchronized (lock) {
      if (merged != null) {
        merged.replacement().undo();
        merged = null;
      }
    }
  }

  /**
   * The adapters that are merged.
   *
   * @return the set; none if nothing is merged
   */
  public AdapterSet mergedAdapters() {
    synchronized (lock) {
      return merged == null ? AdapterSet.none() : merged.set();
    }
  }

  /**
   * Merges the active adapters for good and closes this model.
   *
   * @return the base, now with merged weights; it was and stays the caller's
   * @throws AdapterStateException if merging is not possible, or passes compute with the weights of
   *     a stock network, whose own parameters are overwritten; nothing is changed then
   */
  public Block mergeAndUnload() {
    synchronized (lock) {
      boolean mergedBefore = merged != null;
      merge();
      if (merged != null) {
        try {
          backbone.keep(merged.replacement());
        } catch (RuntimeException e) {
          if (!mergedBefore) {
            unmerge();
          }
          throw e;
        }
        merged = null;
      }
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
    PeftMethod method;
    PeftConfig config;
    Adapter replaced;
    synchronized (lock) {
      replaced = adapters.get(name);
      if (isMerged(name)) {
        throw new AdapterStateException("adapter '" + name + "' is merged: unmerge first");
      }
      method = PeftMethods.of(replaced.config());
      config = AdapterStates.config(replaced, method);
    }
    install(name, method, config, tensors, Map.of(), replaced);
  }

  /**
   * Saves adapters in their own ecosystem's format. The one named {@value Peft#DEFAULT_ADAPTER}
   * goes into the directory itself, others into a directory of their name below it, as Hugging Face
   * PEFT does.
   *
   * @param directory the directory, made if it is missing
   * @param names the adapters; all of them if none is named
   */
  public void save(Path directory, String... names) {
    List<String> wanted = names.length == 0 ? adapterNames() : List.of(names);
    wanted.forEach(this::adapter);
    for (String name : wanted) {
      saveAs(name, name.equals(Peft.DEFAULT_ADAPTER) ? directory : directory.resolve(name));
    }
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
    synchronized (lock) {
      long trainable = 0;
      long all = layout().parameterCount();
      for (Map.Entry<String, Adapter> entry : adapters.all().entrySet()) {
        Adapter adapter = entry.getValue();
        long values =
            adapter.parameters().values().stream().mapToLong(a -> a.getShape().size()).sum();
        all += values - adapter.borrowedValues();
        if (trained.contains(entry.getKey())) {
          trainable += values;
        }
      }
      return new ParameterReport(trainable, all);
    }
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

  @Override
  public void close() {
    synchronized (lock) {
      if (!closed) {
        unmerge();
        closed = true;
        active = AdapterSet.none();
        trained = List.of();
        adapters.clear();
        backbone.weights().leave();
      }
    }
  }
}
