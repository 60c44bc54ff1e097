package io.peft4j.models.gguf;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import io.peft4j.models.SaveOptions;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.CheckpointWriter;
import io.peft4j.state.Json;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * Writes a GGUF file as the Hugging Face directory that it was made from, with unpacked weights:
 * {@code config.json}, {@code model.safetensors} or shards of it, {@code tokenizer.json} and {@code
 * tokenizer_config.json} with the chat template (if the file has a tokenizer), and {@code
 * generation_config.json} (if it names an end token).
 */
public final class GgufConverter {
  private GgufConverter() {}

  /**
   * Converts a file. The directory appears whole or not at all.
   *
   * @param file a GGUF file
   * @param target the directory; must not exist or be empty
   * @param options type and size of the tensor files
   * @throws io.peft4j.MalformedFileException if the file is missing or damaged
   * @throws InvalidConfigException if the model is of a kind that is not implemented, or {@code
   *     target} is in use
   * @throws PeftException if a file cannot be written
   */
  public static void convert(Path file, Path target, SaveOptions options) {
    refuseUsed(target);
    try (GgufModel model = GgufModel.open(file)) {
      Path place = target.toAbsolutePath().normalize();
      Path parent = place.getParent();
      if (parent == null) {
        throw new InvalidConfigException(target + ": cannot be written");
      }
      AtomicFiles.createDirectories(parent);
      Path temporary = parent.resolve("." + place.getFileName() + "." + UUID.randomUUID() + ".tmp");
      try {
        write(model, temporary, options);
        Files.move(temporary, place, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new PeftException(target + ": cannot be written: " + e, e);
      } finally {
        delete(temporary);
      }
    }
  }

  /**
   * Writes a model's files into a directory, one after the other; {@code config.json}, without
   * which nothing loads, is the last.
   *
   * @param model the model; stays the caller's
   * @param directory the directory, made if it is missing
   * @param options type and size of the tensor files
   * @throws io.peft4j.MalformedFileException if the tokenizer is damaged
   * @throws InvalidConfigException if the tokenizer is of a kind that is not implemented
   * @throws PeftException if a file cannot be written
   */
  public static void write(GgufModel model, Path directory, SaveOptions options) {
    // Before the weights: a tokenizer that is refused should not take long to say so.
    AtomicFiles.createDirectories(directory);
    writeOthers(model, directory);
    List<Entry> entries = new ArrayList<>();
    for (String name : model.names()) {
      entries.add(
          new Entry(
              name,
              options.type(),
              model.shape(name),
              sink -> {
                // One at a time is unpacked.
                try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
                    NDArray values = model.float32(manager, name)) {
                  sink.write(values);
                }
              }));
    }
    CheckpointWriter.write(directory, entries, Map.of("format", "pt"), options.maxShardSize());
    ObjectNode config = model.config();
    config.put("dtype", torchName(options.type()));
    writeJson(directory.resolve("config.json"), config);
  }

  /**
   * Writes what belongs to a model beside configuration and weights: the files of tokenizer and
   * generation, as far as the GGUF file has what is in them.
   *
   * @param model the model; stays the caller's
   * @param directory the directory, which must exist
   * @throws io.peft4j.MalformedFileException if the tokenizer is damaged
   * @throws InvalidConfigException if the tokenizer is of a kind that is not implemented
   * @throws PeftException if a file cannot be written
   */
  public static void writeOthers(GgufModel model, Path directory) {
    Optional<GgufTokenizer> tokenizer = model.tokenizer();
    if (tokenizer.isPresent()) {
      byte[] rules = tokenizer.get().json();
      AtomicFiles.writeBytes(directory.resolve("tokenizer.json"), rules);
      writeJson(directory.resolve("tokenizer_config.json"), tokenizer.get().config());
    }
    Optional<ObjectNode> generation = generation(model);
    if (generation.isPresent()) {
      writeJson(directory.resolve("generation_config.json"), generation.get());
    }
  }

  /** The tokens that generation needs to know: all that end a text, where one does. */
  private static Optional<ObjectNode> generation(GgufModel model) {
    GgufMetadata metadata = model.file().metadata();
    OptionalLong end = metadata.integer("tokenizer.ggml.eos_token_id");
    if (end.isEmpty()) {
      return Optional.empty();
    }
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    metadata.integer("tokenizer.ggml.bos_token_id").ifPresent(id -> config.put("bos_token_id", id));
    metadata
        .integer("tokenizer.ggml.padding_token_id")
        .ifPresent(id -> config.put("pad_token_id", id));
    OptionalLong turn = metadata.integer("tokenizer.ggml.eot_token_id");
    if (turn.isPresent() && turn.getAsLong() != end.getAsLong()) {
      ArrayNode ends = config.putArray("eos_token_id");
      ends.add(end.getAsLong()).add(turn.getAsLong());
    } else {
      config.put("eos_token_id", end.getAsLong());
    }
    return Optional.of(config);
  }

  private static void writeJson(Path file, ObjectNode value) {
    AtomicFiles.writeString(file, Json.toPythonString(value) + "\n");
  }

  private static String torchName(TensorType type) {
    return switch (type) {
      case F16 -> "float16";
      case BF16 -> "bfloat16";
      default -> "float32";
    };
  }

  private static void refuseUsed(Path target) {
    if (!Files.exists(target)) {
      return;
    }
    try (Stream<Path> entries = Files.isDirectory(target) ? Files.list(target) : Stream.of()) {
      if (!Files.isDirectory(target) || entries.findAny().isPresent()) {
        throw new InvalidConfigException(
            target + ": is there already; give a new or empty directory");
      }
    } catch (IOException e) {
      throw new PeftException(target + ": cannot be read: " + e, e);
    }
  }

  private static void delete(Path directory) {
    if (!Files.isDirectory(directory)) {
      return;
    }
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
      Files.delete(directory);
    } catch (IOException e) {
      // What is left has a temporary name that nothing reads; the cause is reported already.
      return;
    }
  }
}
