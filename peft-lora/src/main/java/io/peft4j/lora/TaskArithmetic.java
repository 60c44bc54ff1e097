package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.lora.LoraCombination.MajoritySign;
import io.peft4j.lora.LoraCombination.Type;
import io.peft4j.torch.Kernel;
import java.util.Arrays;
import java.util.List;

/**
 * Combines tensors of one shape, element by element, with the arithmetic of PEFT 0.21's {@code
 * utils/merge_utils.py}.
 */
final class TaskArithmetic {
  private static final Kernel BERNOULLI =
      Kernel.of("p: Tensor -> Tensor", "return torch.bernoulli(p)");

  private final LoraCombination how;

  TaskArithmetic(LoraCombination how) {
    this.how = how;
  }

  /**
   * Combines tensors.
   *
   * @param type the rule, without its {@code SVD}
   * @param tensors float32, all of one shape
   * @param weights one for each
   * @return float32 of the same shape
   */
  NDArray combine(Type type, List<NDArray> tensors, float[] weights) {
    NDList kept = new NDList(tensors.size());
    tensors.forEach(tensor -> kept.add(prune(type, tensor)));
    NDArray stacked = NDArrays.stack(kept);
    long[] perTensor = new long[stacked.getShape().dimension()];
    Arrays.fill(perTensor, 1);
    perTensor[0] = weights.length;
    NDArray weighted = stacked.mul(stacked.getManager().create(weights, new Shape(perTensor)));
    int[] across = {0};
    if (type != Type.TIES && type != Type.DARE_TIES) {
      return weighted.sum(across);
    }
    NDArray agree = agreeing(stacked).toType(DataType.FLOAT32, false);
    NDArray count = agree.sum(across).maximum(1f);
    return weighted.mul(agree).sum(across).div(count);
  }

  /** Which values have the sign of the majority. A tie, and a sum of zero, count as positive. */
  private NDArray agreeing(NDArray stacked) {
    NDArray signs = stacked.sign();
    int[] across = {0};
    NDArray votes =
        how.majoritySign() == MajoritySign.TOTAL ? stacked.sum(across) : signs.sum(across);
    NDArray majority = votes.gte(0f).toType(DataType.FLOAT32, false).mul(2f).sub(1f);
    return signs.eq(majority);
  }

  private NDArray prune(Type type, NDArray tensor) {
    double density = how.density().orElse(1);
    if (density >= 1) {
      return tensor;
    }
    return switch (type) {
      case TIES, MAGNITUDE_PRUNE -> largest(tensor, density);
      case DARE_LINEAR, DARE_TIES -> {
        NDArray chances = tensor.onesLike().mul((float) density);
        yield tensor.mul(BERNOULLI.call(chances)).div((float) density);
      }
      default -> tensor;
    };
  }

  /** Keeps a share of the values, those of the largest magnitude. */
  private static NDArray largest(NDArray tensor, double density) {
    int count = (int) (density * tensor.size());
    if (count == 0) {
      return tensor.zerosLike();
    }
    NDArray flat = tensor.flatten();
    NDArray indexes = flat.abs().topK(count, 0, true, true).get(1);
    NDArray mask = flat.zerosLike().scatter(indexes, flat.onesLike().get(":" + count), 0);
    return tensor.mul(mask.reshape(tensor.getShape()));
  }
}
