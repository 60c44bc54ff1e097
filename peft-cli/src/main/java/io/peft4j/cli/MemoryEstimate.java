package io.peft4j.cli;

import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;

/**
 * About how much memory a model takes. An estimate from shapes alone:
 *
 * <ul>
 *   <li>Weights are held in float32: 4 bytes a value.
 *   <li>A trained value costs 16 bytes: itself, its gradient and AdamW's two moments.
 *   <li>For the backward pass every token keeps, at 4 bytes a value, the outputs of linear layers
 *       and norms, what operators between them keep (about 1.2 times as much again), what adapters
 *       need of their layers' inputs, and about 4.5 values for each logit of a language model.
 * </ul>
 *
 * <p>The two factors are fitted to the peak of resident memory of training runs over small BERT and
 * Llama shapes (2 to 8 layers, 512 to 2,048 tokens), which it then meets within a fifth.
 *
 * @param weights bytes of the base
 * @param adapter bytes of what is trained
 * @param activations bytes kept for the backward pass
 */
record MemoryEstimate(long weights, long adapter, long activations) {
  /** What the JVM and the engine take by themselves, in bytes. */
  static final long PROCESS = 300L << 20;

  private static final int FLOAT = 4;
  private static final double KEPT_OF_LAYERS = 2.2;
  private static final double KEPT_OF_LOGITS = 4.5;

  static MemoryEstimate of(ModelLayout layout, AdapterPlan plan, long tokens) {
    double kept = plan.inputs();
    for (LayerSpec layer : layout.layers()) {
      boolean logits = layout.outputLayer().filter(layer.path()::equals).isPresent();
      boolean norm = layer.kind() == LayerKind.OTHER && layer.weight().dimension() == 1;
      if (logits) {
        kept += KEPT_OF_LOGITS * layer.outFeatures();
      } else if (norm || layer.kind() != LayerKind.OTHER) {
        kept += KEPT_OF_LAYERS * layer.outFeatures();
      }
    }
    return new MemoryEstimate(
        FLOAT * layout.parameterCount(),
        4L * FLOAT * plan.trainable(),
        Math.round(FLOAT * kept * tokens));
  }

  long total() {
    return weights + adapter + activations + PROCESS;
  }
}
