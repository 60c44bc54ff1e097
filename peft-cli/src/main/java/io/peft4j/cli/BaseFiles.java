package io.peft4j.cli;

import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.gguf.GgufFile;
import io.peft4j.spi.CheckpointWeights;
import io.peft4j.spi.WeightStorages;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.state.TensorInfo;
import io.peft4j.state.TensorType;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Precision;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A base model as its files describe it: configuration and, if there are weights, their headers.
 * Nothing is loaded, so that a model of any size can be looked at.
 *
 * @param source the directory or file
 * @param config the keys of {@code config.json}
 * @param layout names and shapes
 * @param tensors the model's name of each parameter to its tensor; empty if there are no weights
 * @param packed what parameters are called that are no plain tensors
 * @param files how many safetensors files there are
 * @param bytes the size of all tensors
 * @param problems why the weights do not fit the configuration
 */
record BaseFiles(
    Path source,
    ObjectNode config,
    ModelLayout layout,
    Map<String, TensorInfo> tensors,
    Map<String, String> packed,
    int files,
    long bytes,
    List<String> problems) {
  /** For what is compared with figures from elsewhere, or only looked at. */
  static final LoadOptions FLOAT32 = LoadOptions.builder().precision(Precision.FLOAT32).build();

  private static final int SHOWN = 5;
  private static final int PIECE = 1 << 26;

  /** What models make by themselves; files may have it. */
  private static final Pattern BUFFER =
      Pattern.compile(
          "(.*\\.)?(position_ids|token_type_ids|inv_freq|attn\\.bias|attn\\.masked_bias)");

  /** What many heads do not use; files of the encoder have it all the same. */
  private static final Pattern POOLER = Pattern.compile("(\\w+\\.)?pooler\\..*");

  /**
   * Reads.
   *
   * @param source a Hugging Face directory, or its {@code config.json} alone
   */
  static BaseFiles read(Path source) {
    boolean directory = Files.isDirectory(source);
    Path file = directory ? source.resolve("config.json") : source;
    ObjectNode config = Json.readObject(file);
    ModelLayout layout = layout(file, config);
    if (!directory || !hasWeights(source)) {
      return new BaseFiles(source, config, layout, Map.of(), Map.of(), 0, 0, List.of());
    }
    try (Checkpoint checkpoint = Checkpoint.open(source)) {
      CheckpointWeights own =
          WeightStorages.find(config, null, file.toString())
              .map(storage -> storage.open(checkpoint, source.toString()))
              .orElse(null);
      return new Reader(checkpoint, own).read(source, file, config, layout);
    }
  }

  /** Checks that a base whose weights are needed is a directory or a GGUF file. */
  static Path loadable(Path base) {
    boolean gguf = GgufFile.isNamedSo(base) && Files.isRegularFile(base);
    if (!Files.isDirectory(base) && !gguf) {
      throw new MalformedFileException(
          "--base: "
              + base
              + (Files.exists(base) ? " is a file" : " does not exist")
              + "; a directory with config.json and safetensors files, or a GGUF file, is"
              + " needed");
    }
    return base;
  }

  private static boolean hasWeights(Path directory) {
    return Files.exists(directory.resolve("model.safetensors"))
        || Files.exists(directory.resolve("model.safetensors.index.json"));
  }

  private static ModelLayout layout(Path file, ObjectNode config) {
    try {
      return PretrainedModel.layout(config);
    } catch (InvalidConfigException e) {
      throw new PeftException(
          file + String.valueOf(e.getMessage()).replaceFirst("^the configuration", ""), e);
    }
  }

  /** The class that the configuration names, or the family. */
  String title() {
    String name = config.path("architectures").path(0).asText("");
    return name.isEmpty() ? layout.modelType() : name;
  }

  /** The type in which a parameter is stored, as far as that is known. */
  String type(String parameter) {
    String name = layout.tied().getOrDefault(parameter, parameter);
    TensorInfo info = tensors.get(name);
    if (packed.containsKey(name)) {
      return packed.get(name);
    }
    if (info != null) {
      return TypeNames.of(info.type());
    }
    return tensors.isEmpty() ? declaredType() : "missing";
  }

  private String declaredType() {
    String name = config.path(config.hasNonNull("dtype") ? "dtype" : "torch_dtype").asText("");
    return TensorType.parse(name).map(TypeNames::of).orElse("float32");
  }

  /** The size of the weights in the type that the configuration declares, or of the files. */
  long storedBytes() {
    if (!tensors.isEmpty()) {
      return bytes;
    }
    TensorType type = TensorType.parse(declaredType()).orElse(TensorType.F32);
    return type.bytes(layout.parameterCount());
  }

  /** Brings headers and layout together. */
  private static final class Reader {
    private final Checkpoint checkpoint;
    private final @Nullable CheckpointWeights own;
    private final Set<String> names;
    private final Map<String, String> stored = new LinkedHashMap<>();
    private final Set<String> firsts = new LinkedHashSet<>();

    Reader(Checkpoint checkpoint, @Nullable CheckpointWeights own) {
      this.checkpoint = checkpoint;
      this.own = own;
      names = own == null ? checkpoint.names() : own.names();
      for (String name : names) {
        stored.put(
            name.replaceFirst("LayerNorm\\.gamma$", "LayerNorm.weight")
                .replaceFirst("LayerNorm\\.beta$", "LayerNorm.bias"),
            name);
        firsts.add(name.substring(0, name.indexOf('.') + 1));
      }
    }

    BaseFiles read(Path source, Path file, ObjectNode given, ModelLayout declared) {
      ObjectNode config = given;
      ModelLayout layout = declared;
      if (untied(layout)) {
        config = given.deepCopy();
        config.put("tie_word_embeddings", false);
        layout = layout(file, config);
      }
      boolean noPooler =
          layout.parameters().keySet().stream()
              .filter(name -> POOLER.matcher(name).matches())
              .allMatch(name -> find(name) == null);
      if (noPooler && layout.heads().isEmpty()) {
        layout = withoutPooler(layout);
      }
      Map<String, TensorInfo> tensors = new LinkedHashMap<>();
      List<String> missing = new ArrayList<>();
      List<String> wrong = new ArrayList<>();
      Set<String> surplus = new LinkedHashSet<>(names);
      Map<String, String> packed = new LinkedHashMap<>();
      for (Map.Entry<String, Shape> parameter : layout.parameters().entrySet()) {
        String name = find(parameter.getKey());
        if (name == null) {
          name = tiedTensor(layout, parameter.getKey());
        }
        if (name == null) {
          missing.add(parameter.getKey());
          continue;
        }
        surplus.remove(name);
        TensorInfo info = checkpoint.info(name);
        tensors.put(parameter.getKey(), info);
        CheckpointWeights.Packed pieces = own == null ? null : own.packed(name).orElse(null);
        Shape shape = pieces == null ? info.shape() : pieces.shape();
        if (pieces != null) {
          packed.put(parameter.getKey(), pieces.type());
          shape = turned(layout, parameter.getKey()) ? reversed(shape) : shape;
        }
        if (!shape.equals(parameter.getValue())) {
          wrong.add(name + " is " + shape + ", not " + parameter.getValue());
        }
      }
      for (String alias : layout.tied().keySet()) {
        surplus.remove(String.valueOf(find(alias)));
      }
      surplus.removeIf(name -> BUFFER.matcher(name).matches() || POOLER.matcher(name).matches());
      List<String> problems = new ArrayList<>();
      add(problems, "tensors are missing: ", missing);
      add(problems, "tensors have other shapes than the configuration says: ", wrong);
      add(problems, "tensors are not the model's: ", List.copyOf(surplus));
      long bytes = checkpoint.names().stream().mapToLong(n -> checkpoint.info(n).bytes()).sum();
      return new BaseFiles(
          source, config, layout, tensors, packed, checkpoint.files().size(), bytes, problems);
    }

    private static boolean turned(ModelLayout layout, String parameter) {
      return layout.layers().stream()
          .anyMatch(
              layer ->
                  layer.kind() == LayerKind.LINEAR_TRANSPOSED
                      && layer.weightName().equals(parameter));
    }

    private static Shape reversed(Shape shape) {
      return shape.dimension() == 2 ? new Shape(shape.get(1), shape.get(0)) : shape;
    }

    private static void add(List<String> problems, String what, List<String> names) {
      if (!names.isEmpty()) {
        int more = names.size() - SHOWN;
        problems.add(
            what
                + String.join(", ", names.subList(0, Math.min(SHOWN, names.size())))
                + (more > 0 ? " and " + more + " more" : ""));
      }
    }

    /** The stored name of a parameter, whose file may have been saved with or without a head. */
    private @Nullable String find(String parameter) {
      String own = stored.get(parameter);
      if (own == null) {
        own = stored.get(parameter.substring(parameter.indexOf('.') + 1));
      }
      for (String first : firsts) {
        own = own == null ? stored.get(first + parameter) : own;
      }
      return own;
    }

    private @Nullable String tiedTensor(ModelLayout layout, String parameter) {
      for (Map.Entry<String, String> tie : layout.tied().entrySet()) {
        if (tie.getValue().equals(parameter)) {
          return find(tie.getKey());
        }
      }
      return null;
    }

    private boolean untied(ModelLayout layout) {
      for (Map.Entry<String, String> tie : layout.tied().entrySet()) {
        String first = find(tie.getKey());
        String second = find(tie.getValue());
        if (first != null && second != null && !equal(first, second)) {
          return true;
        }
      }
      return false;
    }

    private boolean equal(String first, String second) {
      TensorInfo info = checkpoint.info(first);
      if (info.type() != checkpoint.info(second).type()
          || !info.shape().equals(checkpoint.info(second).shape())) {
        return false;
      }
      for (long done = 0; done < info.bytes(); done += PIECE) {
        int now = (int) Math.min(PIECE, info.bytes() - done);
        ByteBuffer piece = checkpoint.buffer(first, done, now);
        if (!piece.equals(checkpoint.buffer(second, done, now))) {
          return false;
        }
      }
      return true;
    }

    private static ModelLayout withoutPooler(ModelLayout layout) {
      ModelLayout.Builder rest = ModelLayout.builder(layout.modelType());
      for (LayerSpec layer : layout.layers()) {
        if (POOLER.matcher(layer.path() + ".").matches()) {
          continue;
        }
        String shared = layout.tied().get(layer.weightName());
        if (shared == null) {
          rest.layer(layer.path(), layer.kind(), layer.weight(), layer.bias());
        } else {
          rest.tiedLinear(layer.path(), layer.inFeatures(), layer.outFeatures(), shared);
        }
      }
      layout.outputLayer().ifPresent(rest::outputLayer);
      ModelLayout built = rest.build();
      int expected = built.parameters().size();
      long known =
          layout.parameters().keySet().stream()
              .filter(name -> !POOLER.matcher(name).matches())
              .count();
      if (known != expected) {
        throw new MalformedFileException("parameters outside of layers are not expected here");
      }
      return built;
    }
  }
}
