package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import io.peft4j.target.ModelLayout;
import org.jspecify.annotations.Nullable;

/** Rows of W by index, for indexes int64 [batch, ...]. */
public final class Embedding extends Layer {

  /**
   * An embedding of a model.
   *
   * @param layout the model's layout
   * @param path the layer's path
   */
  public Embedding(ModelLayout layout, String path) {
    super(layout, layout.layer(path).orElseThrow());
  }

  @Override
  NDArray compute(NDArray ids, Weight weight, @Nullable NDArray bias) {
    return weight.rows(ids);
  }
}
