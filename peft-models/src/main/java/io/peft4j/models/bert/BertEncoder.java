package io.peft4j.models.bert;

import ai.djl.ndarray.NDArray;
import io.peft4j.models.graph.GraphValue;
import io.peft4j.models.graph.ModelGraph;
import io.peft4j.nn.Pass;
import io.peft4j.target.ModelLayout;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The layers that BERT and RoBERTa have in common. Holds no arrays. */
public final class BertEncoder {
  private final List<BertLayer> layers = new ArrayList<>();

  /**
   * The layers of a model.
   *
   * @param layout the model's layout
   * @param prefix what stands before {@code encoder}, empty or ending in a dot
   * @param config the model's configuration
   */
  public BertEncoder(ModelLayout layout, String prefix, BertConfig config) {
    for (int i = 0; i < config.layers(); i++) {
      layers.add(new BertLayer(layout, path(prefix, i), config));
    }
  }

  /**
   * Adds the layers to a layout.
   *
   * @param layout the layout
   * @param prefix what stands before {@code encoder}, empty or ending in a dot
   * @param config the model's configuration
   */
  public static void describe(ModelLayout.Builder layout, String prefix, BertConfig config) {
    for (int i = 0; i < config.layers(); i++) {
      BertLayer.describe(layout, path(prefix, i), config);
    }
  }

  private static String path(String prefix, int layer) {
    return prefix + "encoder.layer." + layer;
  }

  /**
   * Computes the layers one after the other.
   *
   * @param pass weights and adapters
   * @param embedded float32 [batch, length, hidden]
   * @param padding float32 [batch, 1, 1, length], added to attention scores; null for none
   * @return float32 [batch, length, hidden]
   */
  public NDArray forward(Pass pass, NDArray embedded, @Nullable NDArray padding) {
    NDArray x = embedded;
    for (BertLayer layer : layers) {
      x = pass.layer(x, input -> layer.forward(pass, input, padding));
    }
    return x;
  }

  /**
   * Says what {@link #forward} computes.
   *
   * @param graph takes it down
   * @param embedded [batch, length, hidden]
   * @return [batch, length, hidden]
   */
  public GraphValue describe(ModelGraph graph, GraphValue embedded) {
    GraphValue x = embedded;
    for (BertLayer layer : layers) {
      x = layer.describe(graph, x);
    }
    return x;
  }
}
