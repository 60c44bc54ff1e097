package io.peft4j.qlora;

import io.peft4j.nn.Weight;
import io.peft4j.spi.CheckpointWeights;
import io.peft4j.state.TensorStore;
import io.peft4j.state.TensorType;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Precision;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The weights of one checkpoint: in 4 bits, or to be made so. */
final class BitsAndBytesWeights implements CheckpointWeights {
  private static final String WEIGHT = ".weight";

  private final BitsAndBytesConfig config;
  private final TensorStore tensors;
  private final Map<String, QuantizedTensor> packed;
  private final Set<String> names = new LinkedHashSet<>();
  private @Nullable ModelLayout layout;
  private @Nullable SkippedModules skipped;

  /**
   * Weights of a checkpoint.
   *
   * @param packed the parameters in 4 bits; their pieces are no parameters of their own
   */
  BitsAndBytesWeights(
      BitsAndBytesConfig config, TensorStore tensors, Map<String, QuantizedTensor> packed) {
    this.config = config;
    this.tensors = tensors;
    this.packed = packed;
    for (String name : tensors.names()) {
      String owner = BitsAndBytesReader.owner(name);
      if (owner == null || !packed.containsKey(owner)) {
        names.add(name);
      }
    }
  }

  @Override
  public Set<String> names() {
    return names;
  }

  @Override
  public Optional<Packed> packed(String name) {
    return Optional.ofNullable(packed.get(name))
        .map(tensor -> new Packed(tensor.shape(), tensor.blocks().type().key()));
  }

  @Override
  public Optional<Weight> weight(
      String name, String parameter, ModelLayout model, @Nullable Precision precision) {
    QuantizedTensor tensor = packed.get(name);
    LayerSpec layer = layer(parameter, model);
    boolean transposed = layer != null && layer.kind() == LayerKind.LINEAR_TRANSPOSED;
    if (tensor == null) {
      // In a checkpoint that is in 4 bits already, what is not was left so on purpose.
      if (!packed.isEmpty() || layer == null || skipped(model).contains(layer.path())) {
        return Optional.empty();
      }
      tensor =
          transposed
              ? QuantizedTensor.quantizeTransposed(config, tensors, name, layer.path())
              : QuantizedTensor.quantize(config, tensors, name, layer.path());
    }
    return Optional.of(new FourBitWeight(tensor, config, transposed, precision(precision)));
  }

  /** The linear layer that a parameter is the weight of. */
  private static @Nullable LayerSpec layer(String parameter, ModelLayout layout) {
    return parameter.endsWith(WEIGHT)
        ? layout
            .layer(parameter.substring(0, parameter.length() - WEIGHT.length()))
            .filter(layer -> layer.kind().isLinear())
            .orElse(null)
        : null;
  }

  private SkippedModules skipped(ModelLayout model) {
    SkippedModules known = skipped;
    if (known == null || layout != model) {
      known = SkippedModules.of(config, model);
      skipped = known;
      layout = model;
    }
    return known;
  }

  private Precision precision(@Nullable Precision asked) {
    if (asked != null) {
      return asked;
    }
    return config.computeType() == TensorType.F32 ? Precision.FLOAT32 : Precision.fastest();
  }
}
