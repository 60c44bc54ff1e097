package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import org.jspecify.annotations.Nullable;

/**
 * The end of a sub-layer, where its output h meets the residual x: norm(h + x) in models that
 * normalise after (BERT), h + x in models that normalise before (Llama). Every family joins its
 * sub-layers here and nowhere else. Holds no arrays.
 */
public final class Join {
  private final String path;
  private final @Nullable LayerNorm norm;

  /**
   * A join of a model.
   *
   * @param path the module in which Hugging Face's code adds the residual, for example {@code
   *     encoder.layer.0.output}
   * @param norm what the model applies to the sum, or null for nothing
   */
  public Join(String path, @Nullable LayerNorm norm) {
    this.path = path;
    this.norm = norm;
  }

  /**
   * The place in the model.
   *
   * @return dotted path
   */
  public String path() {
    return path;
  }

  /**
   * Joins.
   *
   * @param pass weights and adapters
   * @param h the sub-layer's output, float32 [batch, ..., hidden]
   * @param x the residual, of the same shape
   * @return a new array of the same shape
   */
  public NDArray forward(Pass pass, NDArray h, NDArray x) {
    NDArray sum = h.add(x);
    return norm == null ? sum : norm.forward(pass, sum);
  }
}
