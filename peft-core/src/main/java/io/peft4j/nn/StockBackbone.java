package io.peft4j.nn;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.nn.Parameter;
import ai.djl.nn.convolutional.Conv1d;
import ai.djl.nn.convolutional.Conv2d;
import ai.djl.nn.core.Embedding;
import ai.djl.nn.core.Linear;
import ai.djl.nn.transformer.IdEmbedding;
import ai.djl.util.Pair;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.target.LayerKind;
import io.peft4j.target.ModelLayout;
import java.lang.ref.WeakReference;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.WeakHashMap;

/**
 * A stock DJL network. Its layers cannot be swapped, so adapters act by handing it other
 * parameters: a {@link ai.djl.training.ParameterStore} of each pass gives W + ΔW in the place of W.
 * Rows with different adapters are computed group by group.
 *
 * <p>Paths are the names of DJL's children joined by dots, for example {@code 02Linear}; a layer's
 * parameters are {@code weight} and {@code bias}, whatever DJL calls them.
 *
 * <p>The frozen network always computes as in inference: its own dropout does nothing and a batch
 * norm uses the statistics it came with and keeps them.
 */
public final class StockBackbone implements Backbone {
  /** The networks that models are open over: all models over one network share its weights. */
  private static final Map<Block, WeakReference<StockBackbone>> OPEN = new WeakHashMap<>();

  private final Block block;
  private final WeightStore weights;
  private final Map<Parameter, Integer> indexes;
  private final Map<Integer, Parameter> parameters;
  private final Device device;

  private StockBackbone(
      Block block,
      WeightStore weights,
      Map<Parameter, Integer> indexes,
      Map<Integer, Parameter> parameters,
      Device device) {
    this.block = block;
    this.weights = weights;
    this.indexes = indexes;
    this.parameters = parameters;
    this.device = device;
  }

  /**
   * Reads a network's structure. As long as a model is open over the network this gives the
   * backbone that it uses.
   *
   * @param block an initialised network with float32 parameters; it stays the caller's
   * @return the backbone
   * @throws InvalidConfigException if a parameter is not initialised or not float32
   */
  public static StockBackbone of(Block block) {
    synchronized (OPEN) {
      return known(block);
    }
  }

  /**
   * Reads a network's structure and counts one more model open over it, in one step: of two models
   * that are opened at once neither can miss the other.
   *
   * @param block an initialised network with float32 parameters; it stays the caller's
   * @return the backbone, on whose weights the caller calls {@link WeightStore#leave} in the end
   * @throws InvalidConfigException if a parameter is not initialised or not float32
   * @throws AdapterStateException if another model's adapters are merged into the network now
   */
  public static StockBackbone enter(Block block) {
    synchronized (OPEN) {
      StockBackbone backbone = known(block);
      backbone.weights.enter();
      return backbone;
    }
  }

  private static StockBackbone known(Block block) {
    WeakReference<StockBackbone> reference = OPEN.get(block);
    StockBackbone known = reference == null ? null : reference.get();
    if (known != null && known.weights.wrappers() > 0) {
      return known;
    }
    StockBackbone made = read(block);
    OPEN.put(block, new WeakReference<>(made));
    return made;
  }

  private static StockBackbone read(Block block) {
    Reader reader = new Reader();
    reader.read("", block);
    if (reader.weights.isEmpty()) {
      throw new InvalidConfigException("the network has no parameters to adapt");
    }
    ModelLayout layout = reader.layout.build();
    Map<Parameter, Integer> indexes = new IdentityHashMap<>();
    Map<Integer, Parameter> parameters = new LinkedHashMap<>();
    reader.names.forEach(
        (parameter, name) -> {
          indexes.put(parameter, layout.parameterIndex(name));
          parameters.put(layout.parameterIndex(name), parameter);
        });
    Device device = parameters.values().iterator().next().getArray().getDevice();
    return new StockBackbone(
        block, WeightStore.of(layout, reader.weights), indexes, parameters, device);
  }

  @Override
  public WeightStore weights() {
    return weights;
  }

  @Override
  public boolean weightsOnly() {
    return true;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public NDList forward(Pass pass, NDList inputs) {
    if (inputs.isEmpty()) {
      throw new PeftException("the network needs at least one input; given was none");
    }
    if (pass.segments().size() == 1) {
      return forward(pass, pass.segments().get(0), inputs);
    }
    NDList[] parts = new NDList[pass.segments().size()];
    for (int i = 0; i < parts.length; i++) {
      Segment segment = pass.segments().get(i);
      NDIndex rows = new NDIndex().addSliceDim(segment.begin(), segment.end());
      NDList part = new NDList(inputs.size());
      for (NDArray input : inputs) {
        part.add(input.get(rows));
      }
      parts[i] = forward(pass, segment, part);
    }
    NDList outputs = new NDList();
    for (int output = 0; output < parts[0].size(); output++) {
      NDList pieces = new NDList(parts.length);
      for (NDList part : parts) {
        pieces.add(part.get(output));
      }
      outputs.add(NDArrays.concat(pieces));
    }
    return outputs;
  }

  private NDList forward(Pass pass, Segment segment, NDList inputs) {
    return block.forward(
        new EffectiveParameterStore(
            inputs.head().getManager(), weights.layout(), pass.weights(), segment, indexes),
        inputs,
        false);
  }

  @Override
  public void keep(WeightStore.Replacement merged) {
    // No pass can begin while the store is locked.
    synchronized (weights) {
      int passes = merged.leasesBefore();
      if (passes > 0) {
        throw new AdapterStateException(
            "the network's own parameters cannot be overwritten while "
                + passes
                + (passes == 1 ? " pass computes" : " passes compute")
                + " with them: let no more begin, and merge and unload again when they have ended");
      }
      try (WeightSnapshot now = weights.lease()) {
        copyFrom(now);
      }
      merged.undo();
    }
  }

  /** A DJL parameter takes no other array once it has a shape, so values are copied into it. */
  private void copyFrom(WeightSnapshot now) {
    parameters.forEach(
        (index, parameter) -> {
          NDArray value = now.weight(index).dense();
          NDArray own = parameter.getArray();
          if (value != own) {
            boolean gradient = own.hasGradient();
            own.setRequiresGradient(false);
            value.copyTo(own);
            own.setRequiresGradient(gradient);
          }
        });
  }

  /** Walks a network. */
  private static final class Reader {
    private final ModelLayout.Builder layout = ModelLayout.builder("djl");
    private final Map<Parameter, String> names = new IdentityHashMap<>();
    private final Map<String, Weight> weights = new LinkedHashMap<>();

    void read(String path, Block block) {
      LayerKind kind = kind(block);
      Map<String, Parameter> direct = new LinkedHashMap<>();
      block.getDirectParameters().forEach(pair -> direct.put(pair.getKey(), pair.getValue()));
      if (kind == LayerKind.OTHER || path.isEmpty() || isShared(direct)) {
        direct.forEach((name, parameter) -> add(join(path, name), parameter, true));
      } else {
        Parameter weight =
            Objects.requireNonNull(
                direct.get(kind == LayerKind.EMBEDDING ? "embedding" : "weight"), path);
        Shape shape = array(join(path, "weight"), weight).getShape();
        layout.layer(path, kind, shape, direct.containsKey("bias"));
        add(join(path, "weight"), weight, false);
        Parameter bias = direct.get("bias");
        if (bias != null) {
          add(join(path, "bias"), bias, false);
        }
      }
      for (Pair<String, Block> child : block.getChildren()) {
        read(join(path, child.getKey()), child.getValue());
      }
    }

    /** A layer that appears a second time is adapted where it appeared first. */
    private boolean isShared(Map<String, Parameter> direct) {
      return direct.values().stream().anyMatch(names::containsKey);
    }

    private void add(String name, Parameter parameter, boolean alone) {
      if (names.containsKey(parameter)) {
        return;
      }
      NDArray array = array(name, parameter);
      if (alone) {
        layout.parameter(name, array.getShape());
      }
      names.put(parameter, name);
      weights.put(name, DenseWeight.of(array));
    }

    private static NDArray array(String name, Parameter parameter) {
      if (!parameter.isInitialized()) {
        throw new InvalidConfigException(
            name + " is not initialised: initialise or load the network before wrapping it");
      }
      NDArray array = parameter.getArray();
      if (array.getDataType() != DataType.FLOAT32) {
        throw new InvalidConfigException(
            name + " is " + array.getDataType() + ": stock networks are adapted in float32");
      }
      return array;
    }

    private static LayerKind kind(Block block) {
      if (block instanceof Linear) {
        return LayerKind.LINEAR;
      }
      if (block instanceof Conv2d) {
        return LayerKind.CONV2D;
      }
      if (block instanceof Conv1d) {
        return LayerKind.CONV1D;
      }
      return block instanceof Embedding<?> || block instanceof IdEmbedding
          ? LayerKind.EMBEDDING
          : LayerKind.OTHER;
    }

    private static String join(String path, String name) {
      return path.isEmpty() ? name : path + "." + name;
    }
  }
}
