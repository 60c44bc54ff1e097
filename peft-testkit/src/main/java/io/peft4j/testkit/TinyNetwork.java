package io.peft4j.testkit;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.Join;
import io.peft4j.nn.LayerNorm;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import io.peft4j.target.JoinKind;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * The smallest network made of this project's own layers: an embedding, two sub-layers with
 * residual and norm, the mean over the tokens, and a classifier. Adapters act on its activations.
 *
 * <p>Paths are {@code embed_tokens}, {@code layers.N.mix}, {@code layers.N.up}, {@code
 * layers.N.down} (without a bias), {@code layers.N.norm} and {@code classifier}. Its input is int64
 * [batch, length], its output float32 [batch, {@value #CLASSES}]. Weights depend on the seed alone.
 * The caller closes it.
 */
public final class TinyNetwork extends AbstractBlock implements Backbone, AutoCloseable {
  /** Number of embedded tokens. */
  public static final int TOKENS = 13;

  /** Size of the output. */
  public static final int CLASSES = 3;

  private static final int HIDDEN = 8;
  private static final int INNER = 12;
  private static final int DEPTH = 2;

  private final NDManager manager = NDManager.newBaseManager("PyTorch");
  private final WeightStore weights;
  private final Embedding embedding;
  private final List<SubLayer> layers = new ArrayList<>();
  private final Linear classifier;

  private record SubLayer(Linear mix, Linear up, Linear down, Join join) {
    SubLayer(ModelLayout layout, String path) {
      this(
          new Linear(layout, path + ".mix"),
          new Linear(layout, path + ".up"),
          new Linear(layout, path + ".down"),
          new Join(path, new LayerNorm(layout, path + ".norm", 1e-5)));
    }

    NDArray forward(Pass pass, NDArray x) {
      NDArray inner = Ops.gelu(up.forward(pass, mix.forward(pass, x)));
      return join.forward(pass, down.forward(pass, inner), x);
    }
  }

  /**
   * A network with weights of its own.
   *
   * @param seed decides about the weights
   */
  public TinyNetwork(long seed) {
    ModelLayout layout = describe();
    Random random = new Random(seed);
    Map<String, Weight> values = new LinkedHashMap<>();
    layout
        .parameters()
        .forEach(
            (name, shape) -> {
              float[] value = new float[(int) shape.size()];
              for (int i = 0; i < value.length; i++) {
                value[i] = (float) (0.4 * random.nextGaussian());
              }
              values.put(name, DenseWeight.owning(manager.create(value, shape)));
            });
    weights = WeightStore.of(layout, values);
    embedding = new Embedding(layout, "embed_tokens");
    for (int i = 0; i < DEPTH; i++) {
      layers.add(new SubLayer(layout, "layers." + i));
    }
    classifier = new Linear(layout, "classifier");
  }

  private static ModelLayout describe() {
    ModelLayout.Builder layout = ModelLayout.builder("tiny").head("classifier");
    layout.embedding("embed_tokens", TOKENS, HIDDEN);
    for (int i = 0; i < DEPTH; i++) {
      layout.linear("layers." + i + ".mix", HIDDEN, HIDDEN, true);
      layout.linear("layers." + i + ".up", HIDDEN, INNER, true);
      layout.linear("layers." + i + ".down", INNER, HIDDEN, false);
      layout.norm("layers." + i + ".norm", HIDDEN, true);
      layout.join("layers." + i, HIDDEN, JoinKind.FEED_FORWARD, true);
    }
    layout.linear("classifier", HIDDEN, CLASSES, true);
    return layout.build();
  }

  @Override
  public WeightStore weights() {
    return weights;
  }

  @Override
  public NDList forward(Pass pass, NDList inputs) {
    NDArray x = embedding.forward(pass, inputs.head());
    for (SubLayer layer : layers) {
      x = layer.forward(pass, x);
    }
    return new NDList(classifier.forward(pass, x.mean(new int[] {1})));
  }

  @Override
  protected NDList forwardInternal(
      ParameterStore parameterStore,
      NDList inputs,
      boolean training,
      @Nullable PairList<String, Object> params) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        WeightSnapshot lease = weights.lease()) {
      scope.suppressNotUsedWarning();
      NDList outputs = forward(Pass.base(lease), inputs);
      NDScope.unregister(outputs);
      return outputs;
    }
  }

  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    return new Shape[] {new Shape(inputShapes[0].get(0), CLASSES)};
  }

  @Override
  public void close() {
    weights.close();
    manager.close();
  }
}
