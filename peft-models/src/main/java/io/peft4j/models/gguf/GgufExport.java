package io.peft4j.models.gguf;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.target.ModelLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;

/**
 * Writes a model that came from a GGUF file, with what was merged into it, as a GGUF file again.
 *
 * <p>Metadata, among it tokenizer and chat template, and the tensors that are no parameters are the
 * base's, byte for byte, but for {@code general.file_type} and {@code general.alignment}, which is
 * 32 by leaving it out. Matrices get the type asked for, or F16 where their rows are no whole
 * blocks of it; all else is F32. An output layer that was tied and is not any more becomes {@code
 * output.weight}.
 */
public final class GgufExport {
  private static final Set<String> OWN = Set.of("general.alignment", "general.file_type");

  private GgufExport() {}

  /**
   * Writes the file.
   *
   * @param model a model that was loaded from {@code base}; stays the caller's
   * @param base the GGUF file
   * @param type F32, F16 or Q8_0
   * @param target the file, which appears whole or not at all; not {@code base}
   * @throws InvalidConfigException if {@code base} is no GGUF file, {@code target} is the base, the
   *     type is not written, or the model has other parameters than the file
   * @throws io.peft4j.PeftException if the file cannot be written
   */
  public static void write(PretrainedModel model, Path base, GgufType type, Path target) {
    if (!GgufFile.isNamedSo(base)) {
      throw new InvalidConfigException(
          "a merged GGUF file takes metadata and tokenizer from a base that is one; "
              + base
              + " is not. Export safetensors, and convert them with llama.cpp's"
              + " convert_hf_to_gguf.py");
    }
    int fileType =
        switch (type) {
          case F32 -> 0;
          case F16 -> 1;
          case Q8_0 -> 7;
          default ->
              throw new InvalidConfigException(
                  "GGUF files are written as F32, F16 or Q8_0; asked for was " + type);
        };
    // The base is mapped while the target is written.
    if (Files.exists(target) && target.toAbsolutePath().normalize().equals(real(base))) {
      throw new InvalidConfigException(target + ": is the base itself; give another file");
    }
    try (GgufModel origin = GgufModel.open(base);
        WeightSnapshot weights = model.weights().lease()) {
      GgufWriter writer = new GgufWriter();
      origin
          .file()
          .entries()
          .forEach(
              (key, entry) -> {
                if (!OWN.contains(key)) {
                  writer.entry(entry);
                }
              });
      writer.integer("general.file_type", fileType);
      ModelLayout layout = model.weights().layout();
      Set<String> names = origin.names();
      for (String name : names) {
        if (!layout.parameters().containsKey(name)) {
          throw new InvalidConfigException(
              base + ": has the parameter " + Quotes.quote(name) + ", which the model has not");
        }
        Weight weight = weights.weight(layout.parameterIndex(name));
        GgufModel.Parameter parameter = origin.parameter(name);
        add(writer, parameter.tensor().name(), parameter.arrangement(), weight, type);
      }
      for (var tie : layout.tied().entrySet()) {
        Weight own = weights.weight(layout.parameterIndex(tie.getKey()));
        if (own != weights.weight(layout.parameterIndex(tie.getValue()))) {
          add(writer, "output.weight", Arrangement.AS_STORED, own, type);
        }
      }
      origin.addOthers(writer);
      writer.write(target);
    }
  }

  private static Path real(Path file) {
    return file.toAbsolutePath().normalize();
  }

  private static void add(
      GgufWriter writer, String name, Arrangement arrangement, Weight weight, GgufType type) {
    Shape shape = arrangement.shape(weight.shape());
    boolean matrix = shape.dimension() == 2;
    boolean blocks = matrix && shape.get(1) % type.blockSize() == 0;
    GgufType chosen = !matrix ? GgufType.F32 : blocks ? type : GgufType.F16;
    int width = Math.toIntExact(shape.get(shape.dimension() - 1));
    writer.tensor(
        name,
        chosen,
        shape,
        (first, count) -> {
          try (NDScope scope = new NDScope()) {
            scope.suppressNotUsedWarning();
            NDArray dense = weight.dense();
            if (!matrix || !(arrangement instanceof Arrangement.AsStored)) {
              float[] all = arrangement.stored(dense.toFloatArray(), weight.shape());
              int begin = (int) first * width;
              return Arrays.copyOfRange(all, begin, begin + count * width);
            }
            return dense.get(new NDIndex("{}:{}", first, first + count)).toFloatArray();
          }
        });
  }
}
