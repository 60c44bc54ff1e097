package io.peft4j.models.generate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.TokenDecoder;
import io.peft4j.nn.PassSource;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * This library's models, with or without adapters.
 *
 * @param source what computes
 * @param model its base
 */
record ModelEngine(PassSource source, PretrainedModel model) implements TextEngine {

  static ModelEngine of(PassSource source) {
    return new ModelEngine(source, CausalDecoder.causal(source));
  }

  @Override
  public int context() {
    return model.network().limits().longest();
  }

  @Override
  public ObjectNode config() {
    return model.config();
  }

  @Override
  public Optional<Path> directory() {
    return model.directory();
  }

  @Override
  public TokenDecoder start(List<long[]> prompts, int copies, int room) {
    return CausalDecoder.start(source, prompts, copies, room);
  }
}
