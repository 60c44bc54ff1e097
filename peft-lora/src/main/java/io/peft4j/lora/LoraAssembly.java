package io.peft4j.lora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.nn.Weight;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Puts an adapter together from tensors, new or loaded, under PEFT's state keys, and knows how it
 * is saved.
 */
final class LoraAssembly {
  /** The layers whose base weight PEFT saves beside an adapter of theirs. */
  private static final List<String> SAVED_EMBEDDINGS = List.of("embed_tokens", "lm_head");

  private final AttachContext context;
  private final AdapterBuilder adapter;
  private final LoraConfig config;
  private final List<Begun> begun = new ArrayList<>();
  private final Map<String, Weight> fromBase = new LinkedHashMap<>();
  private final Map<String, NDArray> frozen = new LinkedHashMap<>();
  private final Map<String, String> again = new LinkedHashMap<>();

  /** The keys of a layer's A and B, and what they began with if the base gives that up. */
  private record Begun(String a, String b, @Nullable Factors initial) {}

  LoraAssembly(AttachContext context, AdapterBuilder adapter, LoraConfig config) {
    this.context = context;
    this.adapter = adapter;
    this.config = config;
    if (context.weightsOnly() && config.dropout() > 0) {
      throw new InvalidConfigException(
          "lora_dropout must be 0 for a stock network, whose layers are given W + ΔW and see no"
              + " dropped input; was "
              + config.dropout());
    }
  }

  static String key(LayerSpec layer, String suffix) {
    return PeftDirectory.PREFIX + layer.path() + "." + suffix;
  }

  static String keyA(LayerSpec layer) {
    return key(layer, layer.kind() == LayerKind.EMBEDDING ? "lora_embedding_A" : "lora_A.weight");
  }

  static String keyB(LayerSpec layer) {
    return key(layer, layer.kind() == LayerKind.EMBEDDING ? "lora_embedding_B" : "lora_B.weight");
  }

  /**
   * Adds LoRA at a layer.
   *
   * @param tensors A and B
   * @param initial what they began with, if the base gives that up
   * @param bias the bias of B, if it has one
   * @param magnitude DoRA's m, if it is DoRA; an empty array asks for the norms of the base
   */
  void lowRank(
      LayerSpec layer,
      String reason,
      Factors tensors,
      @Nullable Factors initial,
      @Nullable NDArray bias,
      @Nullable NDArray magnitude) {
    NDArray a = adapter.parameter(keyA(layer), tensors.a());
    NDArray b = adapter.parameter(keyB(layer), tensors.b());
    double s = config.scaling(layer.path(), a.getShape().get(0));
    NDArray scaling =
        adapter.keep(context.manager().full(new Shape(), (float) s, DataType.FLOAT32));
    LowRank factors = new LowRank(a, b, initial, scaling, s);
    if (initial != null) {
      adapter.keep(initial.a());
      adapter.keep(initial.b());
    }
    begun.add(new Begun(keyA(layer), keyB(layer), initial));
    if (bias != null) {
      adapter.parameter(key(layer, "lora_B.bias"), bias);
    }
    NDArray m = null;
    if (magnitude != null) {
      m =
          adapter.parameter(
              key(layer, "lora_magnitude_vector"),
              magnitude.isEmpty() ? magnitude(layer, factors) : magnitude);
    }
    switch (layer.kind()) {
      case EMBEDDING -> adapter.at(layer, new LoraEmbedding(factors, m), reason);
      case CONV1D, CONV2D -> adapter.at(layer, new LoraConvolution(factors, bias, m), reason);
      default -> {
        boolean transposed = layer.kind() == LayerKind.LINEAR_TRANSPOSED;
        LoraLinear.Squares squares = null;
        if (m != null) {
          Weight weight = context.weight(layer);
          NDArray dense = weight.dense();
          squares =
              new LoraLinear.Squares(
                  weight, adapter.keep(Dora.squares(transposed ? dense.transpose() : dense)));
        }
        adapter.at(
            layer, new LoraLinear(factors, bias, m, squares, config.dropout(), transposed), reason);
      }
    }
  }

  /** DoRA's m begins as the norms of W + ΔW. */
  private NDArray magnitude(LayerSpec layer, LowRank factors) {
    NDArray weight = context.weight(layer).dense();
    boolean rows =
        layer.kind() == LayerKind.LINEAR_TRANSPOSED || layer.kind() == LayerKind.EMBEDDING;
    NDArray straight = rows ? weight.transpose() : weight;
    NDArray norms = Dora.norms(straight.add(factors.delta().reshape(straight.getShape())));
    return norms.reshape(FactorShapes.magnitude(layer));
  }

  /** Adds trained rows at an embedding, and at the output layers that are tied to it. */
  void tokenRows(
      LayerSpec layer, List<Integer> tokens, NDArray rows, List<LayerSpec> tied, String reason) {
    long[] indexes = tokens.stream().mapToLong(Integer::longValue).toArray();
    NDArray index = adapter.keep(Ops.engineOwned(context.manager().create(indexes)));
    NDArray own = adapter.parameter(key(layer, "token_adapter.trainable_tokens_delta"), rows);
    adapter.at(
        layer, new TokenRows(tokens, index, own, layer.kind() != LayerKind.EMBEDDING), reason);
    for (LayerSpec other : tied) {
      adapter.at(
          other, new TokenRows(tokens, index, own, true), reason + ", tied to " + layer.path());
    }
  }

  /** Adds a trained copy of one of the base's parameters. */
  void copy(String parameter, String suffix, NDArray values, boolean borrowed) {
    adapter.override(parameter, PeftDirectory.PREFIX + suffix, values, borrowed);
  }

  /** Puts a copy that is not trained in the place of one of the base's parameters. */
  void frozenCopy(String parameter, String suffix, NDArray values) {
    frozen.put(
        PeftDirectory.PREFIX + suffix,
        adapter.frozenOverride(parameter, PeftDirectory.PREFIX + suffix, values));
  }

  /** Saves a trained tensor under a second key. */
  void saveAgain(String suffix, String secondSuffix) {
    again.put(PeftDirectory.PREFIX + secondSuffix, PeftDirectory.PREFIX + suffix);
  }

  /** Adds a tensor that is saved with the adapter as the base has it. */
  void saveFromBase(String parameter, String suffix) {
    fromBase.put(PeftDirectory.PREFIX + suffix, context.parameter(parameter));
  }

  /** PEFT saves the base weight of a language model's embeddings if they are targeted by name. */
  void saveTargetedEmbeddings(List<LayerSpec> layers, List<String> targets) {
    if (config.trainableTokenIndices().isEmpty()
        && SAVED_EMBEDDINGS.stream().anyMatch(targets::contains)) {
      for (LayerSpec layer : layers) {
        if (layer.kind() == LayerKind.EMBEDDING
            || context.layout().outputLayer().filter(layer.path()::equals).isPresent()) {
          saveFromBase(layer.weightName(), layer.path() + ".base_layer.weight");
        }
      }
    }
  }

  /** The output layers whose weight is that of an embedding. */
  static List<LayerSpec> tiedTo(ModelLayout layout, LayerSpec embedding) {
    return layout.layers().stream()
        .filter(layer -> embedding.weightName().equals(layout.tied().get(layer.weightName())))
        .toList();
  }

  /**
   * Says how the adapter is saved.
   *
   * @param resolved the configuration with what PEFT fills in when it attaches
   */
  void finish(LoraConfig resolved) {
    Map<String, NDArray> own = new LinkedHashMap<>(adapter.parameters());
    again.forEach((key, first) -> own.put(key, adapter.parameters().get(first)));
    adapter.exportAs(
        () -> {
          TreeMap<String, NDArray> tensors = new TreeMap<>(own);
          tensors.putAll(frozen);
          fromBase.forEach((key, weight) -> tensors.put(key, weight.dense()));
          ObjectNode json = resolved.toJson();
          if (begun.stream().anyMatch(layer -> layer.initial() != null)) {
            begun.forEach(layer -> convert(layer, tensors));
            json = LoraConversion.doubled(resolved).toJson();
          }
          return new AdapterState(json, tensors);
        });
  }

  /**
   * Plain LoRA of twice the rank and the same scaling: A' = [A; A₀], B' = [B, −B₀], with zeros
   * where a layer, as an embedding does, began with nothing of the base.
   */
  private static void convert(Begun layer, Map<String, NDArray> tensors) {
    NDArray a = Objects.requireNonNull(tensors.get(layer.a()));
    NDArray b = Objects.requireNonNull(tensors.get(layer.b()));
    Factors initial = layer.initial();
    NDArray a0 = initial == null ? a.zerosLike() : initial.a();
    NDArray b0 = initial == null ? b.zerosLike() : initial.b().neg();
    tensors.put(layer.a(), NDArrays.concat(new NDList(a, a0), 0));
    tensors.put(layer.b(), NDArrays.concat(new NDList(b, b0), 1));
  }
}
