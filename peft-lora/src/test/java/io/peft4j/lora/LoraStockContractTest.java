package io.peft4j.lora;

import static io.peft4j.lora.LoraInitialization.Kind.GAUSSIAN;
import static io.peft4j.lora.LoraInitialization.Kind.OLORA;
import static io.peft4j.lora.LoraInitialization.Kind.ORTHOGONAL;
import static io.peft4j.lora.LoraInitialization.Kind.PISSA;
import static io.peft4j.lora.LoraInitialization.Kind.RANDOM;

import io.peft4j.target.Targets;
import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** Every variant of LoRA on stock DJL networks, where it acts through the weights. */
final class LoraStockContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
            linears("default", c -> c).trainingSteps(1000),
            linears("rslora", c -> c.useRslora(true)),
            linears("random", c -> c.initialization(RANDOM)).actsFromTheStart(),
            linears("gaussian", c -> c.initialization(GAUSSIAN)),
            linears("pissa", c -> c.initialization(PISSA)),
            linears("olora", c -> c.initialization(OLORA)),
            linears("orthogonal", c -> c.initialization(ORTHOGONAL)),
            linears("dora", c -> c.useDora(true)).constantsInGradients(),
            linears("lora_bias", c -> c.loraBias(true)),
            linears("bias all", c -> c.bias(LoraBias.ALL)).notAdditive().notCombinable(),
            linears("bias lora_only", c -> c.bias(LoraBias.LORA_ONLY).targetModules("01Linear"))
                .notAdditive()
                .other(plain().targetModules("03Linear").build()),
            linears("modules_to_save", c -> c.targetModules("01Linear").modulesToSave("03Linear"))
                .notAdditive()
                .notCombinable(),
            linears("patterns", c -> c.rankPattern(Map.of("03Linear", 1))),
            lora("embedding", TestNetwork::embedding, c -> c.targetModules("01IdEmbedding")),
            lora(
                    "dora of an embedding",
                    TestNetwork::embedding,
                    c -> c.useDora(true).targetModules("01IdEmbedding", "03Linear"))
                .constantsInGradients(),
            lora(
                    "tokens",
                    TestNetwork::embedding,
                    c -> c.targetModules("03Linear").trainableTokenIndices(tokens(1, 5)))
                .other(
                    plain().targetModules("03Linear").trainableTokenIndices(tokens(2, 3)).build()),
            convolutions("convolutions", c -> c),
            convolutions("random convolutions", c -> c.initialization(RANDOM)).actsFromTheStart(),
            convolutions("dora of convolutions", c -> c.useDora(true)).constantsInGradients(),
            convolutions("lora_bias of convolutions", c -> c.loraBias(true)))
        .map(Fixture.Builder::build);
  }

  private static Map<String, List<Integer>> tokens(Integer... rows) {
    return Map.of("01IdEmbedding", List.of(rows));
  }

  private static LoraConfigBuilder plain() {
    return LoraConfig.builder().rank(2).alpha(4).targetModules(Targets.allLinear());
  }

  private static Fixture.Builder linears(String name, UnaryOperator<LoraConfigBuilder> config) {
    return lora(name, TestNetwork::linears, config);
  }

  private static Fixture.Builder convolutions(
      String name, UnaryOperator<LoraConfigBuilder> config) {
    return lora(
        name,
        TestNetwork::convolutions,
        c -> config.apply(c.targetModules("01Conv2d", "03Conv1d", "05Linear")));
  }

  private static Fixture.Builder lora(
      String name, Supplier<TestNetwork> network, UnaryOperator<LoraConfigBuilder> config) {
    return Fixture.builder(name, network, config.apply(plain()).build());
  }
}
