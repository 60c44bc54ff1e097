package io.peft4j;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.nn.Parameter;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A model seen as a DJL block, whose parameters are the trained tensors of its adapters. */
final class PeftBlock extends AbstractBlock {
  private final PeftModel model;
  private final List<Parameter> trained = new ArrayList<>();

  PeftBlock(PeftModel model) {
    this.model = model;
    for (TrainableParameter parameter : model.trainableParameters()) {
      trained.add(
          addParameter(
              Parameter.builder()
                  .setName(parameter.adapter() + "." + parameter.name())
                  .setType(Parameter.Type.OTHER)
                  .optArray(parameter.array())
                  .build()));
    }
  }

  @Override
  protected NDList forwardInternal(
      ParameterStore parameterStore,
      NDList inputs,
      boolean training,
      @Nullable PairList<String, Object> params) {
    // The trainer updates what it has been asked for; the arrays are the adapter's own.
    for (Parameter parameter : trained) {
      parameterStore.getValue(parameter, inputs.head().getDevice(), training);
    }
    return model.forward(inputs, training ? ForwardMode.TRAINING : ForwardMode.INFERENCE);
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = new NDList(inputShapes.length);
      for (Shape shape : inputShapes) {
        inputs.add(manager.zeros(shape));
      }
      return model.forward(inputs).getShapes();
    }
  }
}
