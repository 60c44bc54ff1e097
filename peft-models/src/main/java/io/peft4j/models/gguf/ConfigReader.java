package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;

/**
 * Turns the metadata of a file into the keys of a {@code config.json}. Every key of the
 * architecture must be used or known to be harmless: one that is neither may change the arithmetic
 * and is refused.
 */
final class ConfigReader {
  /** No model has more of anything. */
  private static final long MOST = 1 << 24;

  /** What says nothing about the arithmetic, or is looked at elsewhere. */
  private static final Set<String> HARMLESS =
      Set.of(
          "vocab_size",
          "tensor_data_layout",
          "rope.scaling.finetuned",
          "rope.scaling.original_context_length");

  private static final List<String> TOKENS = List.of("bos", "eos", "padding");

  /** Reads what one family needs. */
  @FunctionalInterface
  interface Settings {
    /** Puts the family's keys into the configuration. */
    void read(ConfigReader reader);
  }

  private final GgufFile file;
  private final Architecture architecture;
  private final Set<String> used = new HashSet<>();
  private final ObjectNode config = JsonNodeFactory.instance.objectNode();

  private ConfigReader(GgufFile file, Architecture architecture) {
    this.file = file;
    this.architecture = architecture;
  }

  static ObjectNode read(GgufFile file, Architecture architecture) {
    return new ConfigReader(file, architecture).read();
  }

  private ObjectNode read() {
    config.putArray("architectures").add(architecture.className());
    config.put("model_type", architecture.modelType());
    config.put("dtype", "float32");
    config.put("vocab_size", file.tensor("token_embd.weight").shape().get(0));
    config.put("tie_word_embeddings", !has("output.weight"));
    for (String token : TOKENS) {
      String key = (token.equals("padding") ? "pad" : token) + "_token_id";
      OptionalLong id = file.metadata().integer("tokenizer.ggml." + token + "_token_id");
      if (id.isPresent()) {
        config.put(key, id.getAsLong());
      } else {
        // The families' defaults are the numbers of other vocabularies.
        config.putNull(key);
      }
    }
    architecture.settings().read(this);
    String prefix = architecture.name() + ".";
    for (String key : file.metadata().keys()) {
      if (key.startsWith(prefix)
          && !used.contains(key)
          && !HARMLESS.contains(key.substring(prefix.length()))
          && file.metadata().asksForSomething(key)) {
        throw new InvalidConfigException(
            file.file()
                + ": the metadata key "
                + Quotes.quote(key)
                + " asks for what is not implemented");
      }
    }
    return config;
  }

  /** The configuration so far. */
  ObjectNode config() {
    return config;
  }

  GgufFile file() {
    return file;
  }

  /** Whether there is a tensor of that name in the file. */
  boolean has(String tensor) {
    return file.tensors().containsKey(tensor);
  }

  private String key(String name) {
    String key = architecture.name() + "." + name;
    used.add(key);
    return key;
  }

  /** A size that must be there. */
  long size(String name) {
    String key = key(name);
    if (!file.metadata().keys().contains(key)) {
      throw new InvalidConfigException(
          file.file() + ": the metadata key " + Quotes.quote(key) + " is missing");
    }
    return size(name, 0);
  }

  /** A size, or what is meant where there is none; a list counts if all its values are the same. */
  long size(String name, long absent) {
    String key = key(name);
    if (!file.metadata().keys().contains(key)) {
      return absent;
    }
    long value = oneOf(key);
    if (value < 1 || value > MOST) {
      throw file.metadata().wrong(key, "a whole number from 1 to " + MOST);
    }
    return value;
  }

  /** A size that may be zero, which is what it is where there is none. */
  long sizeOrNone(String name) {
    String key = key(name);
    return file.metadata().asksForSomething(key) ? size(name, 0) : 0;
  }

  private long oneOf(String key) {
    try {
      return file.metadata().integer(key).orElse(0);
    } catch (io.peft4j.MalformedFileException single) {
      long[] values =
          file.metadata().integers(key).filter(list -> list.length > 0).orElseThrow(() -> single);
      for (long value : values) {
        if (value != values[0]) {
          throw new InvalidConfigException(
              file.file()
                  + ": the metadata key "
                  + Quotes.quote(key)
                  + " differs between layers, which is not implemented");
        }
      }
      return values[0];
    }
  }

  /** A positive number, if there is one. */
  OptionalDouble positive(String name) {
    String key = key(name);
    OptionalDouble value = file.metadata().number(key);
    if (value.isPresent() && !(value.getAsDouble() > 0)) {
      throw file.metadata().wrong(key, "a number above 0");
    }
    return value;
  }

  /** A word, in lower case, or what is meant where there is none. */
  String word(String name, String absent) {
    return file.metadata().string(key(name)).orElse(absent).toLowerCase(Locale.ROOT);
  }

  /** Puts a number, if there is one. */
  void put(String target, OptionalDouble value) {
    value.ifPresent(number -> config.put(target, number));
  }

  InvalidConfigException refused(String what) {
    return new InvalidConfigException(file.file() + ": " + what);
  }
}
