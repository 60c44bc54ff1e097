package io.peft4j.models.gguf;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.state.Json;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * The tokenizer in a GGUF file, as the files that Hugging Face has for it.
 *
 * <p>{@code tokenizer.ggml.model} is {@code gpt2} (byte-level BPE with {@code merges}; {@code pre}
 * names the rule by which text is split first, see {@link PreTokenizers}) or {@code llama}
 * (SentencePiece; its merges follow from {@code scores}, see {@link SentencePieceMerges}). {@code
 * token_type} tells which tokens are found whole in a text: control tokens (3), which are special,
 * and user-defined ones (4), which are not.
 *
 * <p>Immutable; holds on to no file.
 */
public final class GgufTokenizer {
  private static final String PREFIX = "tokenizer.ggml.";
  private static final int UNKNOWN = 2;
  private static final int CONTROL = 3;
  private static final int USER_DEFINED = 4;

  private final String origin;
  private final GgufMetadata metadata;
  private final String architecture;
  private final List<String> tokens;
  private final long[] types;

  private GgufTokenizer(
      String origin, GgufMetadata metadata, String architecture, List<String> tokens) {
    this.origin = origin;
    this.metadata = metadata;
    this.architecture = architecture;
    this.tokens = tokens;
    this.types = metadata.integers(PREFIX + "token_type").orElseGet(() -> new long[tokens.size()]);
  }

  /**
   * Reads the tokenizer of a file.
   *
   * @param file the file; it may be closed afterwards
   * @return the tokenizer; empty if the file has none
   * @throws MalformedFileException if its parts do not fit together, or it has more tokens than the
   *     embedding has rows
   */
  public static Optional<GgufTokenizer> of(GgufFile file) {
    String architecture = file.metadata().string("general.architecture").orElse("");
    String origin = file.file().toString();
    return file.metadata()
        .strings(PREFIX + "tokens")
        .map(
            tokens -> {
              GgufTokenizer tokenizer =
                  new GgufTokenizer(origin, file.metadata(), architecture, tokens);
              tokenizer.check(file.tensors().get("token_embd.weight"));
              return tokenizer;
            });
  }

  private void check(@Nullable GgufTensor embedding) {
    if (types.length != tokens.size()) {
      throw malformed(types.length + " token types for " + tokens.size() + " tokens");
    }
    if (embedding != null
        && embedding.shape().dimension() == 2
        && tokens.size() > embedding.shape().get(0)) {
      throw malformed(
          "has "
              + tokens.size()
              + " tokens, but the embedding token_embd.weight has only "
              + embedding.shape().get(0)
              + " rows");
    }
    for (String name : List.of("bos", "eos", "unknown", "padding")) {
      token(name);
    }
  }

  /** The number of a token with a task of its own. */
  OptionalLong token(String task) {
    String key = PREFIX + task + "_token_id";
    OptionalLong id = metadata.integer(key);
    if (id.isPresent() && (id.getAsLong() < 0 || id.getAsLong() >= tokens.size())) {
      throw metadata.wrong(key, "a token's number, from 0 to " + (tokens.size() - 1));
    }
    return id;
  }

  /**
   * The number of tokens.
   *
   * @return how many the vocabulary has
   */
  public int size() {
    return tokens.size();
  }

  private boolean addsBos() {
    if (token("bos").isEmpty()) {
      return false;
    }
    // SentencePiece models and Llama 3 have it unless the file says otherwise.
    boolean usual = !byteLevel() || PreTokenizers.isLlama3(metadata.string(PREFIX + "pre"));
    return metadata.flag(PREFIX + "add_bos_token").orElse(usual);
  }

  private boolean addsEos() {
    return token("eos").isPresent() && metadata.flag(PREFIX + "add_eos_token").orElse(false);
  }

  private boolean byteLevel() {
    return switch (metadata.string(PREFIX + "model").orElse("")) {
      case "gpt2" -> true;
      case "llama" -> false;
      default ->
          throw new InvalidConfigException(
              origin
                  + ": a tokenizer of the kind "
                  + Quotes.quote(metadata.string(PREFIX + "model").orElse(""))
                  + " is not implemented; implemented are gpt2 and llama");
    };
  }

  // --- tokenizer_config.json --------------------------------------------------------------------

  /**
   * The keys of a {@code tokenizer_config.json}: special tokens, {@code add_bos_token}, {@code
   * add_eos_token} and the chat template.
   *
   * @return a new object
   * @throws InvalidConfigException if the tokenizer is of a kind that is not implemented
   */
  public ObjectNode config() {
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    // Any other class of transformers would build rules of its own.
    config.put("tokenizer_class", "PreTrainedTokenizerFast");
    config.put("clean_up_tokenization_spaces", false);
    putToken(config, "bos_token", "bos");
    putToken(config, "eos_token", "eos");
    putToken(config, "unk_token", "unknown");
    putToken(config, "pad_token", "padding");
    config.put("add_bos_token", addsBos());
    config.put("add_eos_token", addsEos());
    Optional<String> template = metadata.string("tokenizer.chat_template");
    Map<String, String> named = new LinkedHashMap<>();
    for (String key : metadata.keys()) {
      if (key.startsWith("tokenizer.chat_template.")) {
        String name = key.substring("tokenizer.chat_template.".length());
        metadata.string(key).ifPresent(text -> named.put(name, text));
      }
    }
    if (named.isEmpty()) {
      template.ifPresent(text -> config.put("chat_template", text));
    } else {
      template.ifPresent(text -> named.putIfAbsent("default", text));
      ArrayNode list = config.putArray("chat_template");
      named.forEach((name, text) -> list.addObject().put("name", name).put("template", text));
    }
    return config;
  }

  private void putToken(ObjectNode config, String key, String task) {
    token(task).ifPresent(id -> config.put(key, tokens.get((int) id)));
  }

  // --- tokenizer.json ---------------------------------------------------------------------------

  /**
   * The content of a {@code tokenizer.json}.
   *
   * @return JSON in UTF-8
   * @throws InvalidConfigException if the tokenizer is of a kind that is not implemented
   * @throws MalformedFileException if a part of it is missing or does not fit
   */
  public byte[] json() {
    boolean byteLevel = byteLevel();
    ObjectNode rules = byteLevel ? byteLevelRules() : sentencePieceRules();
    Map<String, Integer> vocabulary = byteLevel ? byteLevelVocabulary() : sentencePieceVocabulary();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(1 << 20);
    try (JsonGenerator json = Json.mapper().getFactory().createGenerator(bytes)) {
      json.writeStartObject();
      json.writeStringField("version", "1.0");
      json.writeNullField("truncation");
      json.writeNullField("padding");
      writeAddedTokens(json, vocabulary);
      for (String part : List.of("normalizer", "pre_tokenizer")) {
        json.writeFieldName(part);
        json.writeTree(rules.get(part));
      }
      json.writeFieldName("post_processor");
      json.writeTree(postProcessor());
      json.writeFieldName("decoder");
      json.writeTree(rules.get("decoder"));
      json.writeObjectFieldStart("model");
      json.writeStringField("type", "BPE");
      json.writeNullField("dropout");
      json.writeStringField("unk_token", rules.path("unk_token").textValue());
      json.writeNullField("continuing_subword_prefix");
      json.writeNullField("end_of_word_suffix");
      json.writeBooleanField("fuse_unk", !byteLevel);
      json.writeBooleanField("byte_fallback", !byteLevel);
      json.writeBooleanField("ignore_merges", rules.path("ignore_merges").asBoolean(false));
      json.writeObjectFieldStart("vocab");
      for (Map.Entry<String, Integer> entry : vocabulary.entrySet()) {
        json.writeNumberField(entry.getKey(), entry.getValue());
      }
      json.writeEndObject();
      writeMerges(json, vocabulary);
      json.writeEndObject();
      json.writeEndObject();
    } catch (IOException e) {
      throw new PeftException(origin + ": its tokenizer cannot be written: " + e, e);
    }
    return bytes.toByteArray();
  }

  private void writeAddedTokens(JsonGenerator json, Map<String, Integer> vocabulary)
      throws IOException {
    boolean[] named = new boolean[tokens.size()];
    for (String task : List.of("bos", "eos", "unknown", "padding")) {
      token(task).ifPresent(id -> named[(int) id] = true);
    }
    json.writeArrayFieldStart("added_tokens");
    for (int id = 0; id < tokens.size(); id++) {
      boolean special = named[id] || types[id] == CONTROL || (types[id] == UNKNOWN && !byteLevel());
      String token = tokens.get(id);
      // A second token of the same text is never found, and one that was spelled anew neither.
      Integer known = vocabulary.get(token);
      if ((special || types[id] == USER_DEFINED)
          && !token.isEmpty()
          && known != null
          && known == id) {
        json.writeStartObject();
        json.writeNumberField("id", id);
        json.writeStringField("content", token);
        for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
          json.writeBooleanField(flag, false);
        }
        json.writeBooleanField("special", special);
        json.writeEndObject();
      }
    }
    json.writeEndArray();
  }

  private ObjectNode postProcessor() {
    ObjectNode template = JsonNodeFactory.instance.objectNode();
    template.put("type", "TemplateProcessing");
    ArrayNode single = template.putArray("single");
    ArrayNode pair = template.putArray("pair");
    ObjectNode special = template.putObject("special_tokens");
    for (int sequence = 0; sequence < 2; sequence++) {
      for (String step : List.of("bos", "text", "eos")) {
        if (step.equals("text")) {
          String id = sequence == 0 ? "A" : "B";
          if (sequence == 0) {
            single.addObject().putObject("Sequence").put("id", id).put("type_id", 0);
          }
          pair.addObject().putObject("Sequence").put("id", id).put("type_id", sequence);
        } else if (step.equals("bos") ? addsBos() : addsEos()) {
          int id = (int) token(step).orElse(0);
          String token = tokens.get(id);
          if (sequence == 0) {
            single.addObject().putObject("SpecialToken").put("id", token).put("type_id", 0);
          }
          pair.addObject().putObject("SpecialToken").put("id", token).put("type_id", sequence);
          ObjectNode entry = special.putObject(token);
          entry.put("id", token);
          entry.putArray("ids").add(id);
          entry.putArray("tokens").add(token);
        }
      }
    }
    return template;
  }

  private void writeMerges(JsonGenerator json, Map<String, Integer> vocabulary) throws IOException {
    json.writeArrayFieldStart("merges");
    Optional<List<String>> given = metadata.strings(PREFIX + "merges");
    if (given.isPresent()) {
      for (String merge : given.get()) {
        int space = merge.indexOf(' ');
        if (space < 1 || space != merge.lastIndexOf(' ') || space == merge.length() - 1) {
          throw malformed("a merge is two parts with a space between: " + Quotes.quote(merge));
        }
        writePair(json, merge.substring(0, space), merge.substring(space + 1));
      }
    } else if (byteLevel()) {
      throw malformed("has no merges (tokenizer.ggml.merges)");
    } else {
      for (SentencePieceMerges.Merge merge : derivedMerges(vocabulary)) {
        writePair(json, merge.left(), merge.right());
      }
    }
    json.writeEndArray();
  }

  private static void writePair(JsonGenerator json, String left, String right) throws IOException {
    json.writeStartArray();
    json.writeString(left);
    json.writeString(right);
    json.writeEndArray();
  }

  // --- byte-level -------------------------------------------------------------------------------

  private ObjectNode byteLevelRules() {
    ObjectNode rules = PreTokenizers.rules(metadata.string(PREFIX + "pre"), origin);
    rules.putNull("unk_token");
    rules.set("decoder", PreTokenizers.byteLevel(true));
    return rules;
  }

  private Map<String, Integer> byteLevelVocabulary() {
    Map<String, Integer> vocabulary = new LinkedHashMap<>();
    for (int id = 0; id < tokens.size(); id++) {
      String token = tokens.get(id);
      boolean whole = types[id] == CONTROL || types[id] == USER_DEFINED;
      vocabulary.put(whole ? token : ByteAlphabet.spell(token), id);
    }
    return vocabulary;
  }

  // --- SentencePiece ----------------------------------------------------------------------------

  private boolean isGemma() {
    return architecture.startsWith("gemma");
  }

  private ObjectNode sentencePieceRules() {
    if (isGemma()) {
      ObjectNode rules = SentencePieceRules.gemma();
      // What the family calls it; without it, bytes that are no tokens would get lost.
      rules.put("unk_token", token("unknown").isPresent() ? spelled(token("unknown")) : null);
      return rules;
    }
    if (architecture.equals("phi3")) {
      return SentencePieceRules.phi3();
    }
    return SentencePieceRules.llama(metadata.flag(PREFIX + "add_space_prefix").orElse(true));
  }

  private String spelled(OptionalLong id) {
    return tokens.get((int) id.orElse(0));
  }

  private Map<String, Integer> sentencePieceVocabulary() {
    Map<String, Integer> vocabulary = new LinkedHashMap<>();
    for (int id = 0; id < tokens.size(); id++) {
      vocabulary.put(isGemma() ? withoutSpaces(tokens.get(id)) : tokens.get(id), id);
    }
    return vocabulary;
  }

  /** Gemma's tokens of several spaces are stored as spaces, but are looked for as marks. */
  private static String withoutSpaces(String token) {
    return token.indexOf(' ') >= 0 && token.isBlank()
        ? SentencePieceRules.MARK.repeat(token.length())
        : token;
  }

  private List<SentencePieceMerges.Merge> derivedMerges(Map<String, Integer> vocabulary) {
    double[] ranks = new double[tokens.size()];
    if (isGemma()) {
      for (int id = 0; id < ranks.length; id++) {
        ranks[id] = -id;
      }
    } else {
      double[] scores =
          metadata
              .numbers(PREFIX + "scores")
              .orElseThrow(
                  () -> malformed("has neither merges nor scores (tokenizer.ggml.scores)"));
      if (scores.length != ranks.length) {
        throw malformed(scores.length + " scores for " + ranks.length + " tokens");
      }
      ranks = scores;
    }
    return SentencePieceMerges.derive(
        vocabulary, ranks, id -> types[id] == CONTROL || types[id] == USER_DEFINED, origin);
  }

  private MalformedFileException malformed(String what) {
    return new MalformedFileException(origin + ": the tokenizer " + what);
  }
}
