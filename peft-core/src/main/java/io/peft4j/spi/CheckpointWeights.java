package io.peft4j.spi;

import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Weight;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Precision;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The weights of a checkpoint that a {@link WeightStorage} has looked through. */
public interface CheckpointWeights {

  /**
   * The names of the parameters: of plain tensors, and of weights that are in pieces.
   *
   * @return names in the order of the checkpoint
   */
  Set<String> names();

  /**
   * What a weight is that is in pieces.
   *
   * @param name one of {@link #names}
   * @return shape and type; empty for a plain tensor
   */
  Optional<Packed> packed(String name);

  /**
   * A weight that is in pieces.
   *
   * @param shape its shape as it is held; of GPT-2's layers the other way round than the model's
   * @param type what people call its storage, for example {@code nf4}
   */
  record Packed(Shape shape, String type) {}

  /**
   * Makes a weight.
   *
   * @param name one of {@link #names}
   * @param parameter what the model calls it
   * @param layout the model's layout
   * @param precision what is to be computed in; null if that is not said
   * @return the weight, which the caller closes; empty if it is to be read as any plain tensor
   * @throws io.peft4j.MalformedFileException if it cannot be stored in this way
   */
  Optional<Weight> weight(
      String name, String parameter, ModelLayout layout, @Nullable Precision precision);
}
