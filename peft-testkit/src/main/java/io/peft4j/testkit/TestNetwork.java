package io.peft4j.testkit;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.nn.Blocks;
import ai.djl.nn.Parameter;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.convolutional.Conv1d;
import ai.djl.nn.convolutional.Conv2d;
import ai.djl.nn.core.Linear;
import ai.djl.nn.transformer.IdEmbedding;
import ai.djl.training.ParameterStore;
import ai.djl.training.loss.Loss;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.torch.GradMode;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.Function;

/**
 * A small frozen network with a batch of {@value #ROWS} rows to feed it. Everything depends on
 * fixed seeds: two networks of one kind are equal bit for bit. Whoever made it closes it.
 */
public final class TestNetwork implements AutoCloseable {
  /** Rows of the batch. */
  public static final int ROWS = 4;

  private static final int LENGTH = 5;
  private static final long SEED = 20;

  private final NDManager owner;
  private final Block block;
  private final Function<NDManager, NDArray> inputs;

  private TestNetwork(NDManager owner, Block block, Function<NDManager, NDArray> inputs) {
    this.owner = owner;
    this.block = block;
    this.inputs = inputs;
  }

  /**
   * A {@link TinyNetwork}: adapters act on activations.
   *
   * @return the network
   */
  public static TestNetwork tiny() {
    return new TestNetwork(
        NDManager.newBaseManager("PyTorch"), new TinyNetwork(SEED), TestNetwork::tokens);
  }

  /**
   * Stock linear layers {@code 01Linear} and {@code 03Linear}: adapters act through the weights, as
   * in all stock networks.
   *
   * @return the network
   */
  public static TestNetwork linears() {
    SequentialBlock block =
        new SequentialBlock()
            .add(Linear.builder().setUnits(12).build())
            .add(array -> new NDList(array.head().tanh()))
            .add(Linear.builder().setUnits(3).build());
    return stock(block, new Shape(ROWS, 8));
  }

  /**
   * A stock embedding {@code 01IdEmbedding} of {@value TinyNetwork#TOKENS} tokens and a linear
   * layer {@code 03Linear}.
   *
   * @return the network
   */
  public static TestNetwork embedding() {
    SequentialBlock block =
        new SequentialBlock()
            .add(
                new IdEmbedding.Builder()
                    .setDictionarySize(TinyNetwork.TOKENS)
                    .setEmbeddingSize(8)
                    .build())
            .add(array -> new NDList(array.head().mean(new int[] {1})))
            .add(Linear.builder().setUnits(3).build());
    NDManager owner = NDManager.newBaseManager("PyTorch");
    block.initialize(owner, DataType.FLOAT32, new Shape(ROWS, LENGTH));
    return seeded(owner, block, TestNetwork::tokens);
  }

  /**
   * Stock convolutions {@code 01Conv2d} and, over one dimension, {@code 03Conv1d}, and a linear
   * layer {@code 05Linear}.
   *
   * @return the network
   */
  public static TestNetwork convolutions() {
    SequentialBlock block =
        new SequentialBlock()
            .add(Conv2d.builder().setFilters(6).setKernelShape(new Shape(2, 3)).build())
            .add(
                array -> {
                  Shape shape = array.head().getShape();
                  return new NDList(array.head().tanh().reshape(shape.get(0), shape.get(1), -1));
                })
            .add(Conv1d.builder().setFilters(4).setKernelShape(new Shape(3)).build())
            .add(Blocks.batchFlattenBlock())
            .add(Linear.builder().setUnits(3).build());
    return stock(block, new Shape(ROWS, 2, 4, 5));
  }

  private static TestNetwork stock(Block block, Shape shape) {
    NDManager owner = NDManager.newBaseManager("PyTorch");
    block.initialize(owner, DataType.FLOAT32, shape);
    float[] values = gaussian(new Random(SEED + 1), shape.size(), 1);
    return seeded(owner, block, manager -> manager.create(values, shape));
  }

  private static TestNetwork seeded(
      NDManager owner, Block block, Function<NDManager, NDArray> inputs) {
    Random random = new Random(SEED);
    for (Parameter parameter : block.getParameters().values()) {
      NDArray array = parameter.getArray();
      array.set(gaussian(random, array.getShape().size(), 0.4));
    }
    return new TestNetwork(owner, block, inputs);
  }

  private static float[] gaussian(Random random, long size, double deviation) {
    float[] values = new float[(int) size];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (deviation * random.nextGaussian());
    }
    return values;
  }

  private static NDArray tokens(NDManager manager) {
    long[] ids = new long[ROWS * LENGTH];
    for (int i = 0; i < ids.length; i++) {
      ids[i] = (i * 7 + i / 6) % TinyNetwork.TOKENS;
    }
    return manager.create(ids, new Shape(ROWS, LENGTH));
  }

  /**
   * The network.
   *
   * @return the block to wrap; it stays this object's
   */
  public Block block() {
    return block;
  }

  /**
   * The batch.
   *
   * @param manager owns the arrays
   * @return the inputs, always the same values
   */
  public NDList inputs(NDManager manager) {
    return new NDList(inputs.apply(manager));
  }

  /**
   * The loss of the batch.
   *
   * @param outputs what the network gave for it
   * @return a scalar, attached to the manager of the outputs
   */
  public NDArray loss(NDList outputs) {
    NDArray logits = outputs.head();
    long[] labels = new long[ROWS];
    for (int i = 0; i < ROWS; i++) {
      labels[i] = i % logits.getShape().get(1);
    }
    return Loss.softmaxCrossEntropyLoss()
        .evaluate(new NDList(logits.getManager().create(labels)), new NDList(logits));
  }

  /**
   * What the network gives by itself, without any wrapper.
   *
   * @return the output for the batch
   */
  public float[] output() {
    try (NDManager manager = owner.newSubManager();
        GradMode off = GradMode.off()) {
      return block
          .forward(new ParameterStore(manager, false), inputs(manager), false)
          .head()
          .toFloatArray();
    }
  }

  /**
   * The network's own parameters as they are now.
   *
   * @return name to a copy of the values
   */
  public Map<String, float[]> weights() {
    Map<String, float[]> values = new LinkedHashMap<>();
    if (block instanceof Backbone backbone) {
      try (NDScope scope = new NDScope();
          WeightSnapshot lease = backbone.weights().lease()) {
        scope.suppressNotUsedWarning();
        for (String name : backbone.layout().parameterNames()) {
          int index = backbone.layout().parameterIndex(name);
          values.put(name, lease.weight(index).dense().toFloatArray());
        }
      }
    } else {
      block
          .getParameters()
          .forEach(pair -> values.put(pair.getKey(), pair.getValue().getArray().toFloatArray()));
    }
    return values;
  }

  @Override
  public void close() {
    if (block instanceof TinyNetwork tiny) {
      tiny.close();
    }
    owner.close();
  }
}
