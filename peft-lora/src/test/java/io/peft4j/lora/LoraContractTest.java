package io.peft4j.lora;

import static io.peft4j.lora.LoraInitialization.Kind.GAUSSIAN;
import static io.peft4j.lora.LoraInitialization.Kind.OLORA;
import static io.peft4j.lora.LoraInitialization.Kind.ORTHOGONAL;
import static io.peft4j.lora.LoraInitialization.Kind.PISSA;
import static io.peft4j.lora.LoraInitialization.Kind.RANDOM;

import io.peft4j.TaskType;
import io.peft4j.target.Targets;
import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** Every variant of LoRA on layers of this project. */
final class LoraContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
            lora("default", c -> c).trainingSteps(1000),
            lora("all-linear", c -> c.targetModules(Targets.allLinear())),
            lora("rslora", c -> c.useRslora(true)),
            lora("dropout", c -> c.dropout(0.2)),
            lora("random", c -> c.initialization(RANDOM)).actsFromTheStart(),
            lora("gaussian", c -> c.initialization(GAUSSIAN)),
            lora("pissa", c -> c.initialization(PISSA)),
            lora("pissa_niter_4", c -> c.initialization(LoraInitialization.pissa(4))),
            lora(
                "pissa and an embedding",
                c -> c.initialization(PISSA).targetModules("embed_tokens", "up")),
            lora(
                "pissa and rslora",
                c -> c.initialization(PISSA).useRslora(true).rankPattern(Map.of("mix", 3))),
            lora("olora", c -> c.initialization(OLORA)),
            lora("orthogonal", c -> c.initialization(ORTHOGONAL)),
            lora("dora", c -> c.useDora(true)).constantsInGradients(),
            lora("dora with dropout", c -> c.useDora(true).dropout(0.2)).constantsInGradients(),
            lora("dora of an embedding", c -> c.useDora(true).targetModules("embed_tokens", "up"))
                .constantsInGradients(),
            lora("lora_bias", c -> c.loraBias(true).targetModules("mix", "up")),
            // The layer "down" has no bias that B's could be merged into.
            lora("lora_bias without a bias", c -> c.loraBias(true)).notMergeable(),
            lora("bias all", c -> c.bias(LoraBias.ALL)).notAdditive().notCombinable(),
            lora("bias lora_only", c -> c.bias(LoraBias.LORA_ONLY))
                .notAdditive()
                .other(plain().targetModules("mix", "down").build()),
            lora("modules_to_save", c -> c.modulesToSave("classifier", "layers.1.norm"))
                .notAdditive()
                .notCombinable(),
            lora(
                    "modules_to_save with bias all",
                    c -> c.bias(LoraBias.ALL).taskType(TaskType.SEQ_CLS))
                .notAdditive()
                .notCombinable(),
            lora("embedding", c -> c.targetModules("embed_tokens", "mix")),
            lora("tokens", c -> c.trainableTokenIndices(1, 5, 7))
                .other(plain().trainableTokenIndices(2, 3).build()),
            lora("tokens of both", c -> c.trainableTokenIndices(1, 5))
                .notAdditive()
                .notCombinable(),
            lora(
                "patterns",
                c ->
                    c.rankPattern(Map.of("layers.0.mix", 4))
                        .alphaPattern(Map.of("mix", 12, "up", 3.5))),
            lora(
                "expression and one layer",
                c -> c.targetModules(Targets.expression("layers\\.1\\.(mix|up)"))),
            lora("layers_to_transform", c -> c.layersToTransform(1).layersPattern("layers")),
            lora("exclude_modules", c -> c.excludeModules("layers.0.up")))
        .map(Fixture.Builder::build);
  }

  private static LoraConfigBuilder plain() {
    return LoraConfig.builder().rank(2).alpha(4).targetModules("mix", "up", "down");
  }

  private static Fixture.Builder lora(String name, UnaryOperator<LoraConfigBuilder> config) {
    return Fixture.builder(name, TestNetwork::tiny, config.apply(plain()).build());
  }
}
