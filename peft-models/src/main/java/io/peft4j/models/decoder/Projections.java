package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.index.NDIndex;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import java.util.List;

/** Several projections of one input, each a layer of its own or all of them one. */
final class Projections {
  private final List<Linear> layers;
  private final int[] sizes;

  /** With as many paths as sizes, or with one. */
  Projections(ModelLayout layout, List<String> paths, int[] sizes) {
    layers = paths.stream().map(path -> new Linear(layout, path)).toList();
    this.sizes = sizes;
  }

  List<Linear> layers() {
    return layers;
  }

  /** The projections, float32 [batch, length, its size] each. */
  NDArray[] forward(Pass pass, NDArray x) {
    NDArray[] parts = new NDArray[sizes.length];
    NDArray all = layers.size() == 1 ? layers.get(0).forward(pass, x) : null;
    long begin = 0;
    for (int i = 0; i < parts.length; i++) {
      parts[i] =
          all == null
              ? layers.get(i).forward(pass, x)
              : all.get(new NDIndex().addAllDim(2).addSliceDim(begin, begin + sizes[i]));
      begin += sizes[i];
    }
    return parts;
  }

  /** Says what {@link #forward} computes with such paths and sizes. */
  static GraphValue[] describe(ModelGraph graph, List<String> paths, int[] sizes, GraphValue x) {
    GraphValue[] parts = new GraphValue[sizes.length];
    GraphValue all = paths.size() == 1 ? graph.linear(paths.get(0), x) : null;
    long begin = 0;
    for (int i = 0; i < parts.length; i++) {
      parts[i] =
          all == null ? graph.linear(paths.get(i), x) : graph.slice(all, begin, begin + sizes[i]);
      begin += sizes[i];
    }
    return parts;
  }
}
