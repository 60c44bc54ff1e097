package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiFunction;

/**
 * Something that a {@link Trainer} can train: a network and the tensors of it that change. It holds
 * nothing to close.
 */
public interface Trainable {
  /**
   * Computes the network.
   *
   * @param inputs the inputs of a batch; they stay the batch's
   * @param mode what the pass is for
   * @return the outputs
   */
  NDList forward(NDList inputs, ForwardMode mode);

  /**
   * The tensors that training changes.
   *
   * @return float32 parameters that record gradients
   */
  List<TrainableParameter> parameters();

  /**
   * Computes the loss of a batch and adds its gradients, times a weight, to those that the
   * parameters hold. A model that knows a cheaper way than to record and replay the forward pass
   * puts it here. Whatever arrays this makes are freed by the caller's scope.
   *
   * @param batch inputs and labels; it stays the caller's
   * @param loss what to make small
   * @param mode whether dropout acts
   * @param weight multiplies the gradients, not the result
   * @return the loss
   * @throws InvalidConfigException if the loss function does not give a float32 scalar
   */
  default double accumulateGradients(Batch batch, Loss loss, ForwardMode mode, double weight) {
    try (GradMode on = GradMode.on()) {
      NDArray value = loss.compute(forward(batch.inputs(), mode), batch.labels());
      if (value.getShape().size() != 1 || value.getDataType() != DataType.FLOAT32) {
        throw new InvalidConfigException(
            "a loss must be a float32 scalar, was " + value.getDataType() + " " + value.getShape());
      }
      NDArray seed = value.getManager().full(value.getShape(), (float) weight, DataType.FLOAT32);
      JniUtils.backward((PtNDArray) value, (PtNDArray) seed, false, false);
      return value.toFloatArray()[0];
    }
  }

  /**
   * Writes what is trained in a form that other programs read, as part of a checkpoint. A run is
   * taken up again from the trained tensors themselves, which the trainer saves; this is for those
   * who use a checkpoint.
   *
   * @param directory where to write, empty; the names of {@link
   *     io.peft4j.train.checkpoint.CheckpointStore} are taken. By default nothing is written
   */
  default void save(Path directory) {}

  /**
   * A model with adapters: the active ones act, those that are {@linkplain
   * PeftModel#trainAdapters(String...) to be trained} change.
   *
   * @param model the model; it stays the caller's
   * @return the model as the trainer sees it
   */
  static Trainable of(PeftModel model) {
    return new Trainable() {
      @Override
      public NDList forward(NDList inputs, ForwardMode mode) {
        return model.forward(inputs, mode);
      }

      @Override
      public List<TrainableParameter> parameters() {
        return model.trainableParameters();
      }

      @Override
      public void save(Path directory) {
        model.save(directory, model.trainedAdapters().toArray(new String[0]));
      }
    };
  }

  /**
   * Any function of tensors, for example a head over features computed beforehand, or a {@link
   * io.peft4j.PeftView}.
   *
   * @param forward computes outputs from inputs
   * @param parameters the tensors that change; they stay the caller's
   * @return the function as the trainer sees it
   */
  static Trainable of(
      BiFunction<NDList, ForwardMode, NDList> forward, List<TrainableParameter> parameters) {
    List<TrainableParameter> all = List.copyOf(parameters);
    return new Trainable() {
      @Override
      public NDList forward(NDList inputs, ForwardMode mode) {
        return forward.apply(inputs, mode);
      }

      @Override
      public List<TrainableParameter> parameters() {
        return all;
      }
    };
  }
}
