package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.testkit.LiveArrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The weights of a base count as live arrays until it is closed, wherever they come from. */
final class BaseMemoryTest {
  @ParameterizedTest
  @ValueSource(strings = {"bert", "llama-tied", "llama-f16", "roberta-answers"})
  void closingABaseFreesItsWeights(String name) {
    int before = LiveArrays.count();
    try (PretrainedModel base = Golden.model(name)) {
      int weights = base.layout().parameters().size();
      assertTrue(LiveArrays.count() >= before + weights, "weights that are not counted");
    }
    LiveArrays.assertCount(before, "closing " + name);
  }

  @ParameterizedTest
  @ValueSource(strings = {"bert", "roberta-classifier"})
  void newHeadsAreFreedToo(String name) {
    int before = LiveArrays.count();
    LoadOptions options = LoadOptions.builder().tokenClassifier(3).build();
    try (PretrainedModel base =
        PretrainedModel.load(Golden.ROOT.resolve("models").resolve(name), options)) {
      int weights = base.layout().parameters().size();
      assertTrue(LiveArrays.count() >= before + weights, "weights that are not counted");
    }
    LiveArrays.assertCount(before, "closing " + name);
  }
}
