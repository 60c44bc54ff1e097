package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.Objective;
import io.peft4j.PeftModel;
import io.peft4j.PeftView;
import io.peft4j.TrainableParameter;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

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
   * Computes the network for a batch, with the adapters that its rows name if they do.
   *
   * @param batch the batch; it stays the caller's
   * @param mode what the pass is for
   * @return the outputs
   * @throws InvalidConfigException if rows name adapters and this has none to choose from
   */
  default NDList forward(Batch batch, ForwardMode mode) {
    if (!batch.adapters().isEmpty()) {
      throw new InvalidConfigException(
          "rows of a batch can name adapters where a model with adapters is trained by itself");
    }
    return forward(batch.inputs(), mode);
  }

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
      NDArray value = loss.compute(forward(batch, mode), batch.labels());
      return Objective.backward(value, weight);
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
    return of(model, TrainingOptions.PLAIN);
  }

  /**
   * A model with adapters: the active ones act, those that are {@linkplain
   * PeftModel#trainAdapters(String...) to be trained} change.
   *
   * @param model the model; it stays the caller's
   * @param options how steps are computed
   * @return the model as the trainer sees it
   */
  static Trainable of(PeftModel model, TrainingOptions options) {
    return new Trainable() {
      @Override
      public double accumulateGradients(Batch batch, Loss loss, ForwardMode mode, double weight) {
        Objective objective =
            new Objective() {
              @Override
              public NDArray compute(NDList outputs) {
                return loss.compute(outputs, batch.labels());
              }

              @Override
              public @Nullable NextTokens nextTokens() {
                return loss.nextTokens(batch.labels());
              }
            };
        return view(batch).accumulateGradients(batch.inputs(), objective, mode, options, weight);
      }

      private PeftView view(Batch batch) {
        return model.with(
            batch.adapters().isEmpty()
                ? model.activeAdapters()
                : AdapterSet.rows(batch.adapters()));
      }

      @Override
      public NDList forward(Batch batch, ForwardMode mode) {
        return view(batch).forward(batch.inputs(), mode);
      }

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
   * Adapters in series: the outputs of a model with one set of adapters are added to those with the
   * next, and one loss is taken of the sums. Each is computed by itself, so that every adapter gets
   * the gradient of the common loss.
   *
   * @param model the model; it stays the caller's
   * @param sets the sets of adapters, each at least once; those that are {@linkplain
   *     PeftModel#trainAdapters(String...) to be trained} change
   * @return the sum as the trainer sees it
   */
  static Trainable series(PeftModel model, List<AdapterSet> sets) {
    if (sets.isEmpty()) {
      throw new InvalidConfigException("adapters in series: at least one set is needed");
    }
    List<PeftView> views = sets.stream().map(model::with).toList();
    return new Trainable() {
      @Override
      public NDList forward(NDList inputs, ForwardMode mode) {
        NDList sums = views.get(0).forward(inputs, mode);
        for (PeftView view : views.subList(1, views.size())) {
          NDList outputs = view.forward(inputs, mode);
          NDList more = new NDList(sums.size());
          for (int i = 0; i < sums.size(); i++) {
            NDArray sum = sums.get(i).add(outputs.get(i));
            sum.setName(sums.get(i).getName());
            more.add(sum);
          }
          sums = more;
        }
        return sums;
      }

      @Override
      public List<TrainableParameter> parameters() {
        return model.trainableParameters();
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
