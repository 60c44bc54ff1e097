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
 *       and the inputs of norms, what adapters need of their layers' inputs, and for each logit the
 *       logit, its log-probability and its gradient.
 * </ul>
 *
 * @param weights bytes of the base
 * @param adapter bytes of what is trained
 * @param activations bytes kept for the backward pass
 */
record MemoryEstimate(long weights, long adapter, long activations) {
  private static final int FLOAT = 4;

  static MemoryEstimate of(ModelLayout layout, AdapterPlan plan, long tokens) {
    long kept = plan.inputs();
    for (LayerSpec layer : layout.layers()) {
      boolean logits = layout.outputLayer().filter(layer.path()::equals).isPresent();
      boolean norm = layer.kind() == LayerKind.OTHER && layer.weight().dimension() == 1;
      if (logits) {
        kept += 3 * layer.outFeatures();
      } else if (norm || layer.kind() != LayerKind.OTHER) {
        kept += layer.outFeatures();
      }
    }
    return new MemoryEstimate(
        FLOAT * layout.parameterCount(), 4L * FLOAT * plan.trainable(), FLOAT * kept * tokens);
  }

  long total() {
    return weights + adapter + activations;
  }
}
