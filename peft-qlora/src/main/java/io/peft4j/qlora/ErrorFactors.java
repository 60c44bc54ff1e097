package io.peft4j.qlora;

import ai.djl.ndarray.NDArray;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.Factors;
import io.peft4j.lora.Lora;
import io.peft4j.lora.LoraConfig;
import io.peft4j.nn.Weight;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetMatcher;
import io.peft4j.torch.Scopes;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** Finds A and B of the layers of an adapter from what quantization loses there. */
final class ErrorFactors implements Qlora.Observer, AutoCloseable {
  private final LoraConfig lora;
  private final QloraInitialization initialization;
  private final Set<String> targets = new HashSet<>();
  private final Map<String, NDArray> tensors = new LinkedHashMap<>();

  /**
   * Checks what can be checked before anything is quantized: targets, and ranks that can be had.
   */
  ErrorFactors(QloraConfig config, ModelLayout layout) {
    lora = config.lora();
    initialization = config.initialization();
    for (LayerSpec layer :
        TargetMatcher.match(layout, Lora.selection(lora, layout)).requireAll().layers()) {
      targets.add(layer.path());
      long most = Math.min(layer.inFeatures(), layer.outFeatures());
      if (initialization.fitsError() && layer.kind().isLinear() && lora.rank(layer.path()) > most) {
        throw new InvalidConfigException(
            "init_lora_weights "
                + initialization.key()
                + " takes at most min(in, out) = "
                + most
                + " directions of "
                + layer.path()
                + ", but the rank is "
                + lora.rank(layer.path()));
      }
    }
  }

  @Override
  public void quantized(LayerSpec layer, Weight before, FourBitWeight after) {
    if (!targets.contains(layer.path())) {
      return;
    }
    boolean transposed = layer.kind() == LayerKind.LINEAR_TRANSPOSED;
    NDArray packed = straight(after.dense(), transposed);
    NDArray lost = straight(before.dense(), transposed).sub(packed);
    double scaling = lora.scaling(layer.path());
    Factors factors =
        Lora.closest(lost, lora.rank(layer.path()), scaling, initialization.iterations());
    put(layer, "lora_A.weight", factors.a());
    put(layer, "lora_B.weight", factors.b());
    if (lora.useDora()) {
      NDArray adapted = packed.add(factors.b().matMul(factors.a()).mul(scaling));
      put(layer, "lora_magnitude_vector", adapted.square().sum(new int[] {1}).sqrt());
    }
  }

  private static NDArray straight(NDArray matrix, boolean transposed) {
    return transposed ? matrix.transpose() : matrix;
  }

  private void put(LayerSpec layer, String suffix, NDArray values) {
    tensors.put(PeftDirectory.PREFIX + layer.path() + "." + suffix, Scopes.unmanaged(values));
  }

  /** The tensors found, by state key. */
  Map<String, NDArray> tensors() {
    return tensors;
  }

  @Override
  public void close() {
    tensors.values().forEach(NDArray::close);
  }
}
