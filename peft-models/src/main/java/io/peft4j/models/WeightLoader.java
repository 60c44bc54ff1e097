package io.peft4j.models;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.models.LoadOptions.Head;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.HalfWeight;
import io.peft4j.nn.Weight;
import io.peft4j.spi.CheckpointWeights;
import io.peft4j.spi.WeightStorages;
import io.peft4j.state.TensorInfo;
import io.peft4j.state.TensorStore;
import io.peft4j.state.TensorType;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Brings the tensors of a checkpoint under the names of a model.
 *
 * <ul>
 *   <li>{@code LayerNorm.gamma} and {@code LayerNorm.beta}, which old conversions from TensorFlow
 *       have, are weight and bias.
 *   <li>Buffers that a model makes by itself are skipped, and so is a pooler that it does not use.
 *   <li>What a model with a head puts before the headless one's names ({@code bert.}) is taken off
 *       or put on as needed.
 *   <li>Where another head is asked for than the checkpoint has, the checkpoint's is left out.
 * </ul>
 */
final class WeightLoader {
  /** What is skipped where the model has no parameter of that name. */
  private static final Pattern UNUSED =
      Pattern.compile(
          "(.*\\.)?(position_ids|token_type_ids|inv_freq|attn\\.bias|attn\\.masked_bias)"
              + "|(\\w+\\.)?pooler\\.dense\\.(weight|bias)");

  /** What belongs to a head, or to the pooler that only a head uses. */
  private static final Pattern HEAD =
      Pattern.compile("(classifier|cls|lm_head|score|qa_outputs|(\\w+\\.)?pooler)\\..*");

  /** How much of two tensors is compared at once. */
  private static final int PIECE = 1 << 26;

  private WeightLoader() {}

  /** The names of the tensors of a checkpoint, each with the name it has there. */
  static Map<String, String> names(Set<String> stored) {
    Map<String, String> names = new LinkedHashMap<>();
    for (String name : stored) {
      String modern =
          name.endsWith("LayerNorm.gamma")
              ? name.substring(0, name.length() - "gamma".length()) + "weight"
              : name.endsWith("LayerNorm.beta")
                  ? name.substring(0, name.length() - "beta".length()) + "bias"
                  : name;
      String other = names.put(modern, name);
      if (other != null) {
        throw new MalformedFileException(
            "the tensors " + other + " and " + name + " mean the same parameter");
      }
    }
    return names;
  }

  /**
   * Reads weights.
   *
   * @param names the model's name of each tensor, as {@link #names} gives it, to the stored one
   * @param reader gives a new weight for a stored name and the model's
   */
  static Map<String, Weight> read(
      Blueprint blueprint,
      ModelLayout layout,
      Map<String, String> names,
      LoadOptions options,
      BiFunction<String, String, Weight> reader) {
    Map<String, Weight> weights = new LinkedHashMap<>();
    try {
      names.forEach(
          (name, stored) -> {
            String target = target(layout, blueprint.family().prefix(), name);
            boolean wanted = layout.parameterIndex(target) >= 0;
            boolean skipped =
                wanted
                    ? options.head().isNew() && inHead(layout, target)
                    : UNUSED.matcher(name).matches()
                        || (options.head() != Head.AS_CONFIGURED && HEAD.matcher(name).matches());
            if (!skipped) {
              Weight before = weights.put(target, reader.apply(stored, target));
              if (before != null) {
                before.close();
                throw new MalformedFileException(
                    "two tensors mean the parameter " + target + "; one is " + stored);
              }
            }
          });
      if (options.head().isNew()) {
        addHead(blueprint, layout, options, weights);
      }
      return weights;
    } catch (RuntimeException e) {
      weights.values().forEach(Weight::close);
      throw e;
    }
  }

  private static String target(ModelLayout layout, String prefix, String name) {
    if (layout.parameterIndex(name) >= 0) {
      return name;
    }
    if (layout.parameterIndex(prefix + name) >= 0) {
      return prefix + name;
    }
    String shorter = name.startsWith(prefix) ? name.substring(prefix.length()) : name;
    return layout.parameterIndex(shorter) >= 0 ? shorter : name;
  }

  private static boolean inHead(ModelLayout layout, String name) {
    return layout.heads().stream().anyMatch(head -> name.startsWith(head + "."));
  }

  /** Draws what is missing of head and pooler, in the model's order. */
  private static void addHead(
      Blueprint blueprint, ModelLayout layout, LoadOptions options, Map<String, Weight> weights) {
    Random random = new Random(options.seed());
    double deviation = blueprint.initializerRange();
    layout
        .parameters()
        .forEach(
            (name, shape) -> {
              if (!weights.containsKey(name) && HEAD.matcher(name).matches()) {
                float[] values = new float[Math.toIntExact(shape.size())];
                if (shape.dimension() > 1) {
                  for (int i = 0; i < values.length; i++) {
                    values[i] = (float) (deviation * random.nextGaussian());
                  }
                }
                weights.put(name, dense(options, m -> Ops.engineOwned(m.create(values, shape))));
              }
            });
  }

  /** A new float32 weight. */
  static Weight dense(LoadOptions options, Function<NDManager, NDArray> maker) {
    return DenseWeight.owning(
        unmanaged(options.device(), maker), options.precision().orElse(Precision.FLOAT32));
  }

  /**
   * A tensor of a checkpoint as it is stored, if layers multiply by it or look its rows up; else in
   * float32: the few values of norms and biases are used as they are.
   */
  static Weight stored(TensorStore store, String name, LoadOptions options) {
    TensorInfo info = store.info(name);
    boolean half = info.type() == TensorType.BF16 || info.type() == TensorType.F16;
    if (!half || info.shape().dimension() != 2 || !options.device().equals(Device.cpu())) {
      return dense(options, manager -> store.float32(manager, name));
    }
    Precision precision = options.precision().orElseGet(Precision::fastest);
    return new HalfWeight(
        unmanaged(options.device(), manager -> store.half(manager, name)), info.type(), precision);
  }

  /** How a model's weights are stored, or shall be; null if as plain tensors. */
  static WeightStorages.@Nullable Chosen storage(
      ObjectNode config, LoadOptions options, String origin) {
    WeightStorages.Chosen storage =
        WeightStorages.find(config, options.quantization().orElse(null), origin).orElse(null);
    if (storage != null && !options.device().equals(Device.cpu())) {
      throw new InvalidConfigException(
          origin + ": quantized models are loaded on the CPU; asked for was " + options.device());
    }
    return storage;
  }

  /** Gives weights by stored name and the model's: of the storage if it claims them, else plain. */
  static BiFunction<String, String, Weight> reader(
      TensorStore store, @Nullable CheckpointWeights own, ModelLayout layout, LoadOptions options) {
    Precision precision = options.precision().orElse(null);
    return (name, parameter) ->
        Optional.ofNullable(own)
            .flatMap(quantized -> quantized.weight(name, parameter, layout, precision))
            .orElseGet(() -> stored(store, name, options));
  }

  /** Makes an array that no manager and no scope closes. */
  static NDArray unmanaged(Device device, Function<NDManager, NDArray> maker) {
    try (NDManager manager = NDManager.newBaseManager(device, "PyTorch")) {
      return Scopes.unmanaged(maker.apply(manager));
    }
  }

  /** Tells whether a checkpoint has different values for two names that should share them. */
  static boolean untied(ModelLayout layout, Map<String, String> names, TensorStore store) {
    for (Map.Entry<String, String> tie : layout.tied().entrySet()) {
      String first = names.get(tie.getKey());
      String second = names.get(tie.getValue());
      if (first != null && second != null && !equal(store, first, second)) {
        return true;
      }
    }
    return false;
  }

  /** The names without those that share the values of another. */
  static Map<String, String> withoutTied(ModelLayout layout, Map<String, String> names) {
    Map<String, String> left = new LinkedHashMap<>(names);
    layout
        .tied()
        .forEach(
            (alias, name) -> {
              String stored = left.remove(alias);
              if (stored != null) {
                left.putIfAbsent(name, stored);
              }
            });
    return left;
  }

  private static boolean equal(TensorStore store, String first, String second) {
    Shape shape = store.info(first).shape();
    if (!shape.equals(store.info(second).shape())
        || store.info(first).type() != store.info(second).type()) {
      return false;
    }
    long bytes = store.info(first).bytes();
    for (long done = 0; done < bytes; done += PIECE) {
      int now = (int) Math.min(PIECE, bytes - done);
      ByteBuffer piece = store.buffer(first, done, now);
      if (!piece.equals(store.buffer(second, done, now))) {
        return false;
      }
    }
    return true;
  }
}
