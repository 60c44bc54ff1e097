package io.peft4j.models.generate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.models.TokenDecoder;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** A causal language model that a {@link Generator} generates text with. */
public interface TextEngine {

  /**
   * The length of the model's context.
   *
   * @return the most tokens that prompt and text have together
   */
  int context();

  /**
   * The model's configuration.
   *
   * @return the keys of {@code config.json}
   */
  ObjectNode config();

  /**
   * Where the model lies.
   *
   * @return the directory that may have a {@code generation_config.json}; empty if there is none
   */
  Optional<Path> directory();

  /**
   * Reads prompts.
   *
   * @param prompts the tokens of each prompt; at least one prompt, each of at least one token and
   *     no longer than the context
   * @param copies in how many ways each prompt will be continued at once, at least 1
   * @param room for how many more tokens to make room at first
   * @return the decoder, which has the logits after the last token of each prompt; the caller
   *     closes it
   * @throws io.peft4j.models.InvalidInputException if the model cannot read the prompts
   */
  TokenDecoder start(List<long[]> prompts, int copies, int room);
}
