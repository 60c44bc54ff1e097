package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * How byte-level tokenizers cut a text before they merge: {@code tokenizer.ggml.pre} is llama.cpp's
 * name of the rule, which stands in the models' own {@code tokenizer.json}.
 */
final class PreTokenizers {
  /** A rule: an expression for the pieces, or null for GPT-2's, which is built in. */
  private record Rule(
      @Nullable String pieces, boolean singleDigits, boolean composed, boolean ignoreMerges) {}

  private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
  private static final String REST = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  private static final String LLAMA3 =
      CONTRACTIONS
          + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
          + REST;
  private static final String QWEN2 =
      CONTRACTIONS + "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" + REST;
  private static final String UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
  private static final String LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
  private static final String TEKKEN = cased("", "\\p{N}");
  private static final String GPT4O = cased(CONTRACTIONS + "?", "\\p{N}{1,3}");

  private static final Map<String, Rule> RULES = new LinkedHashMap<>();

  static {
    Rule gpt2 = new Rule(null, false, false, false);
    add(gpt2, "", "default", "gpt-2", "phi-2", "olmo", "mpt", "jais", "gigachat");
    add(new Rule(null, true, false, false), "smollm", "codeshell", "exaone", "minerva-7b");
    add(new Rule(LLAMA3, false, false, true), "llama3", "llama-v3", "llama-bpe", "falcon3");
    add(new Rule(LLAMA3, false, false, false), "dbrx", "smaug-bpe", "pixtral", "lfm2");
    Rule qwen2 = new Rule(QWEN2, false, true, false);
    add(qwen2, "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez");
    add(new Rule(TEKKEN, false, false, true), "tekken");
    add(new Rule(GPT4O, false, false, false), "gpt-4o", "llama4", "kanana2");
  }

  private PreTokenizers() {}

  private static void add(Rule rule, String... names) {
    for (String name : names) {
      RULES.put(name, rule);
    }
  }

  /** Words cut where lower case ends: upper-case letters, then lower-case ones. */
  private static String cased(String contractions, String digits) {
    String first = "[^\\r\\n\\p{L}\\p{N}]?";
    return first
        + UPPER
        + "*"
        + LOWER
        + "+"
        + contractions
        + "|"
        + first
        + UPPER
        + "+"
        + LOWER
        + "*"
        + contractions
        + "|"
        + digits
        + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|"
        + REST;
  }

  static boolean isLlama3(Optional<String> name) {
    Rule rule = RULES.get(name.orElse(""));
    return rule != null && LLAMA3.equals(rule.pieces()) && rule.ignoreMerges();
  }

  /** {@code normalizer}, {@code pre_tokenizer} and {@code ignore_merges}. */
  static ObjectNode rules(Optional<String> name, String origin) {
    Rule rule = RULES.get(name.orElse(""));
    if (rule == null) {
      TreeSet<String> known = new TreeSet<>(RULES.keySet());
      known.remove("");
      throw new InvalidConfigException(
          origin
              + ": the pre-tokenizer "
              + Quotes.quote(name.orElse(""))
              + " is not implemented; implemented are "
              + String.join(", ", known));
    }
    ObjectNode rules = JsonNodeFactory.instance.objectNode();
    if (rule.composed()) {
      rules.putObject("normalizer").put("type", "NFC");
    } else {
      rules.putNull("normalizer");
    }
    rules.put("ignore_merges", rule.ignoreMerges());
    if (rule.pieces() == null && !rule.singleDigits()) {
      rules.set("pre_tokenizer", byteLevel(true));
      return rules;
    }
    ArrayNode steps =
        rules.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
    if (rule.singleDigits()) {
      steps.addObject().put("type", "Digits").put("individual_digits", true);
    }
    if (rule.pieces() != null) {
      ObjectNode split = steps.addObject().put("type", "Split");
      split.putObject("pattern").put("Regex", rule.pieces());
      split.put("behavior", "Isolated").put("invert", false);
    }
    steps.add(byteLevel(rule.pieces() == null));
    return rules;
  }

  /** Bytes as characters; with GPT-2's expression if no other has cut the text before. */
  static ObjectNode byteLevel(boolean expression) {
    return JsonNodeFactory.instance
        .objectNode()
        .put("type", "ByteLevel")
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", expression);
  }
}
