package io.peft4j.models.gguf;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.gguf.Architecture.Change;
import io.peft4j.models.gguf.Architecture.Part;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Writes LoRA adapters as llama.cpp takes them beside a base.
 *
 * <p>Metadata: {@code general.type} is {@code adapter}, {@code adapter.type} is {@code lora},
 * {@code general.architecture} the base's, {@code adapter.lora.alpha} one number for the file. For
 * a weight W [out, in] there are float32 tensors {@code W.lora_a} [rank, in] and {@code W.lora_b}
 * [out, rank]; llama.cpp adds alpha / rank · B·A, rank being that of the weight. Rows of B are in
 * the order of W's rows in GGUF. Where scalings times ranks differ between weights, alpha is 1 and
 * the rest is multiplied into B.
 */
public final class GgufAdapter {
  private GgufAdapter() {}

  /**
   * What is added to a layer's weight.
   *
   * @param a float32 [rank, in]
   * @param b float32 [out, rank]
   * @param scaling s in s·B·A
   */
  public record LowRank(NDArray a, NDArray b, double scaling) {
    /** What llama.cpp divides by the rank to have the scaling. */
    private double alpha() {
      return scaling * a.getShape().get(0);
    }
  }

  private record Placed(Part part, LowRank layer) {}

  /**
   * Writes an adapter.
   *
   * @param config the configuration of the base, as in {@code config.json}
   * @param layers path of a linear layer at Hugging Face to what is added to it; arrays stay the
   *     caller's
   * @param target the file, which appears whole or not at all
   * @throws InvalidConfigException if GGUF has no name for the base's family or for a layer, or
   *     nothing is added anywhere
   * @throws io.peft4j.PeftException if the file cannot be written
   */
  public static void write(ObjectNode config, Map<String, LowRank> layers, Path target) {
    Architecture architecture = Architecture.of(config);
    Map<String, Placed> stored = new LinkedHashMap<>();
    architecture
        .stored(config)
        .forEach(
            (name, part) -> {
              LowRank layer = layers.get(part.target());
              if (layer != null) {
                stored.put(name, new Placed(part, layer));
              }
            });
    if (stored.isEmpty() || stored.size() < layers.size()) {
      Map<String, LowRank> rest = new TreeMap<>(layers);
      stored.values().forEach(placed -> rest.remove(placed.part().target()));
      throw new InvalidConfigException(
          "a GGUF adapter for "
              + architecture.name()
              + " needs linear layers that GGUF has a tensor for; "
              + (rest.isEmpty()
                  ? "the adapter has none"
                  : "it has none for "
                      + rest.keySet().stream().limit(5).collect(Collectors.joining(", "))));
    }
    double[] alphas =
        stored.values().stream()
            .mapToDouble(placed -> (float) placed.layer().alpha())
            .distinct()
            .toArray();
    double alpha = alphas.length == 1 && alphas[0] != 0 ? alphas[0] : 1;
    GgufWriter writer =
        new GgufWriter()
            .text("general.architecture", architecture.name())
            .text("general.type", "adapter")
            .text("adapter.type", "lora")
            .number("adapter.lora.alpha", (float) alpha)
            .integer("general.file_type", 0);
    stored.forEach(
        (name, placed) -> {
          LowRank layer = placed.layer();
          // Exactly 1 where one alpha says it all: the values stay what they were, bit for bit.
          float factor = alphas.length == 1 && alphas[0] != 0 ? 1 : (float) (layer.alpha() / alpha);
          Change change = placed.part().change();
          add(writer, name + ".weight.lora_a", layer.a(), 1, Arrangement.AS_STORED);
          add(writer, name + ".weight.lora_b", layer.b(), factor, rows(change, config));
        });
    writer.write(target);
  }

  /** Only the order of rows concerns a product; PEFT has A and B of Conv1D turned already. */
  private static Arrangement rows(Change change, ObjectNode config) {
    return change == Change.QUERY_ROWS || change == Change.KEY_ROWS
        ? new Arrangement.Rotary(Architecture.heads(change, config))
        : Arrangement.AS_STORED;
  }

  private static void add(
      GgufWriter writer, String name, NDArray array, float factor, Arrangement arrangement) {
    float[] values = array.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] *= factor;
    }
    Shape shape = array.getShape();
    int width = Math.toIntExact(shape.get(1));
    float[] stored = arrangement.stored(values, shape);
    writer.tensor(
        name,
        GgufType.F32,
        shape,
        (first, count) ->
            Arrays.copyOfRange(stored, (int) first * width, ((int) first + count) * width));
  }
}
