package io.peft4j.models;

import io.peft4j.models.bert.BertFamily;
import io.peft4j.models.llama.LlamaFamily;
import io.peft4j.models.roberta.RobertaFamily;
import java.util.List;

/** The families that can be read: one line each. */
final class Families {
  static final List<ModelFamily> ALL =
      List.of(
          new BertFamily(), //
          new RobertaFamily(),
          new LlamaFamily());

  private Families() {}
}
