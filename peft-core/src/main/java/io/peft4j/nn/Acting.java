package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a pass needs to know of an adapter. */
public interface Acting {

  /**
   * What acts where a sub-layer meets the residual.
   *
   * @param path the join's path
   * @return what acts there, or null for nothing
   */
  default @Nullable JoinAdapter join(String path) {
    return null;
  }

  /**
   * The joins it acts on, which nothing can merge.
   *
   * @return their paths, sorted
   */
  default List<String> joinPaths() {
    return List.of();
  }

  /**
   * What the adapter does at a layer.
   *
   * @param slot the layer's slot
   * @return its effect, or null if it has none there
   */
  @Nullable LayerAdapter layer(int slot);

  /**
   * The adapter's own copy of a parameter, used in place of the base's.
   *
   * @param index the parameter's index
   * @return float32 array, or null if the adapter leaves that parameter alone
   */
  @Nullable NDArray override(int index);
}
