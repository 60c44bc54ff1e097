package io.peft4j.models;

import ai.djl.ndarray.NDScope;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftException;
import io.peft4j.models.gguf.GgufConverter;
import io.peft4j.models.gguf.GgufModel;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.CheckpointWriter;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import io.peft4j.target.ModelLayout;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Writes a model as transformers' {@code save_pretrained} does. */
final class ModelWriter {
  /** What belongs to a model beside configuration and weights. */
  private static final List<String> OTHERS =
      List.of(
          "tokenizer.json",
          "tokenizer_config.json",
          "tokenizer.model",
          "sentencepiece.bpe.model",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.txt",
          "vocab.json",
          "merges.txt",
          "generation_config.json",
          "chat_template.jinja",
          "chat_template.json");

  private ModelWriter() {}

  static void write(
      Path target,
      SaveOptions options,
      ModelLayout layout,
      WeightSnapshot weights,
      Blueprint blueprint) {
    List<Entry> entries = new ArrayList<>();
    ObjectNode quantization = null;
    for (String name : layout.parameters().keySet()) {
      Weight weight = weights.weight(layout.parameterIndex(name));
      List<Entry> pieces = options.asStored() ? weight.stored(name) : List.of();
      if (!pieces.isEmpty() && quantization == null) {
        quantization = weight.quantization().orElse(null);
      }
      entries.addAll(pieces.isEmpty() ? List.of(entry(name, weight, options.type())) : pieces);
    }
    boolean untied = false;
    for (Map.Entry<String, String> tie : layout.tied().entrySet()) {
      Weight own = weights.weight(layout.parameterIndex(tie.getKey()));
      if (own != weights.weight(layout.parameterIndex(tie.getValue()))) {
        untied = true;
        entries.add(entry(tie.getKey(), own, options.type()));
      }
    }
    CheckpointWriter.write(target, entries, Map.of("format", "pt"), options.maxShardSize());
    ObjectNode config = (untied ? blueprint.untied() : blueprint).config().deepCopy();
    config.put(blueprint.dtypeKey(), torchName(options.type()));
    if (quantization != null) {
      config.set("quantization_config", quantization);
    }
    AtomicFiles.writeString(target.resolve("config.json"), Json.toPythonString(config) + "\n");
  }

  private static Entry entry(String name, Weight weight, TensorType type) {
    return new Entry(
        name,
        type,
        weight.shape(),
        sink -> {
          // A weight that is not stored as float32 is made so, one at a time.
          try (NDScope scope = new NDScope()) {
            scope.suppressNotUsedWarning();
            sink.write(weight.dense());
          }
        });
  }

  private static String torchName(TensorType type) {
    return switch (type) {
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      default -> "float32";
    };
  }

  /** Writes the other files of a directory or GGUF file; null for a model made in memory. */
  static void writeOthers(@Nullable Path source, Path target) {
    if (source != null && Files.isDirectory(source)) {
      copyOthers(source, target);
    } else if (source != null && Files.exists(source)) {
      try (GgufModel origin = GgufModel.open(source)) {
        GgufConverter.writeOthers(origin, target);
      }
    }
  }

  private static void copyOthers(Path source, Path target) {
    for (String name : OTHERS) {
      Path from = source.resolve(name);
      Path to = target.resolve(name);
      try {
        if (Files.isRegularFile(from) && !(Files.exists(to) && Files.isSameFile(from, to))) {
          copy(from, to);
        }
      } catch (IOException e) {
        throw new PeftException(from + ": cannot be copied to " + to + ": " + e, e);
      }
    }
  }

  private static void copy(Path from, Path to) throws IOException {
    try (FileChannel in = FileChannel.open(from, StandardOpenOption.READ)) {
      AtomicFiles.write(
          to,
          out -> {
            long size = in.size();
            for (long done = 0; done < size; ) {
              done += in.transferTo(done, size - done, out);
            }
          });
    }
  }
}
