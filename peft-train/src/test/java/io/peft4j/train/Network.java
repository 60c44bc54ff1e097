package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.Parameter;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.core.Linear;
import ai.djl.training.ParameterStore;
import ai.djl.util.Pair;
import io.peft4j.ForwardMode;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** A network of DJL's own layers, all of it trained. */
final class Network implements Trainable {
  static final int FEATURES = 6;
  static final int CLASSES = 3;

  private final SequentialBlock block;
  private final ParameterStore store;
  private final List<TrainableParameter> parameters = new ArrayList<>();
  double dropout;

  Network(NDManager manager, long seed) {
    this(manager, seed, 16);
  }

  Network(NDManager manager, long seed, int hidden) {
    block =
        new SequentialBlock()
            .add(Linear.builder().setUnits(hidden).build())
            .add(Activation::relu)
            .add(Linear.builder().setUnits(CLASSES).build());
    block.initialize(manager, DataType.FLOAT32, new Shape(1, FEATURES));
    store = new ParameterStore(manager, false);
    Random random = new Random(seed);
    for (Pair<String, Parameter> pair : block.getParameters()) {
      NDArray array = pair.getValue().getArray();
      float[] values = new float[(int) array.size()];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (0.3 * random.nextGaussian());
      }
      try (GradMode off = GradMode.off()) {
        array.set(values);
      }
      array.setRequiresGradient(true);
      parameters.add(new TrainableParameter("", pair.getKey(), array));
    }
  }

  @Override
  public NDList forward(NDList inputs, ForwardMode mode) {
    NDArray x = Ops.dropout(inputs.head(), dropout, mode.dropout());
    return block.forward(store, new NDList(x), mode.gradients());
  }

  @Override
  public List<TrainableParameter> parameters() {
    return parameters;
  }

  List<float[]> values() {
    return parameters.stream().map(p -> p.array().toFloatArray()).toList();
  }
}
