package io.peft4j.models;

import io.peft4j.models.bert.BertFamily;
import io.peft4j.models.gemma2.Gemma2Family;
import io.peft4j.models.gemma3.Gemma3TextFamily;
import io.peft4j.models.gpt2.Gpt2Family;
import io.peft4j.models.llama.LlamaFamily;
import io.peft4j.models.mistral.MistralFamily;
import io.peft4j.models.phi3.Phi3Family;
import io.peft4j.models.qwen2.Qwen2Family;
import io.peft4j.models.qwen3.Qwen3Family;
import io.peft4j.models.roberta.RobertaFamily;
import java.util.List;

/** The families that can be read: one line each. */
final class Families {
  static final List<ModelFamily> ALL =
      List.of(
          new BertFamily(), //
          new RobertaFamily(),
          new Gpt2Family(),
          new LlamaFamily(),
          new MistralFamily(),
          new Qwen2Family(),
          new Qwen3Family(),
          new Phi3Family(),
          new Gemma2Family(),
          new Gemma3TextFamily());

  private Families() {}
}
