package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** What is done to a text before and after the merges of a SentencePiece vocabulary. */
final class SentencePieceRules {
  /** What stands for a space. */
  static final String MARK = "\u2581";

  private SentencePieceRules() {}

  /** Llama: the mark before the text, unless the file does not want it. */
  static ObjectNode llama(boolean prefix) {
    ObjectNode rules = JsonNodeFactory.instance.objectNode();
    rules.putNull("normalizer");
    rules
        .putObject("pre_tokenizer")
        .put("type", "Metaspace")
        .put("replacement", MARK)
        .put("prepend_scheme", prefix ? "first" : "never")
        .put("split", false);
    decoder(rules, prefix);
    rules.putNull("unk_token");
    return rules;
  }

  /** Phi-3: the mark before every part between special tokens, even before a space. */
  static ObjectNode phi3() {
    ObjectNode rules = JsonNodeFactory.instance.objectNode();
    ArrayNode steps = rules.putObject("normalizer").put("type", "Sequence").putArray("normalizers");
    steps.addObject().put("type", "Prepend").put("prepend", MARK);
    replace(steps.addObject(), " ", MARK);
    rules.putNull("pre_tokenizer");
    decoder(rules, true);
    rules.putNull("unk_token");
    return rules;
  }

  /** Gemma: no mark but for spaces. */
  static ObjectNode gemma() {
    ObjectNode rules = JsonNodeFactory.instance.objectNode();
    replace(rules.putObject("normalizer"), " ", MARK);
    ObjectNode split = rules.putObject("pre_tokenizer");
    split.put("type", "Split").putObject("pattern").put("String", " ");
    split.put("behavior", "MergedWithPrevious").put("invert", false);
    decoder(rules, false);
    return rules;
  }

  private static void decoder(ObjectNode rules, boolean prefix) {
    ArrayNode steps = rules.putObject("decoder").put("type", "Sequence").putArray("decoders");
    replace(steps.addObject(), MARK, " ");
    steps.addObject().put("type", "ByteFallback");
    steps.addObject().put("type", "Fuse");
    if (prefix) {
      steps.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    }
  }

  private static void replace(ObjectNode step, String what, String with) {
    step.put("type", "Replace").putObject("pattern").put("String", what);
    step.put("content", with);
  }
}
