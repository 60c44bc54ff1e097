package io.peft4j.qlora;

import io.peft4j.lora.LoraBias;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraConfigBuilder;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.nn.Backbone;
import io.peft4j.target.Targets;
import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** What every method must do, LoRA does over a base in 4 bits too. */
final class QuantizedBaseContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
            lora("all-linear", c -> c.targetModules(Targets.allLinear())),
            lora("rslora and patterns", c -> c.useRslora(true).rankPattern(Map.of("mix", 3))),
            lora("dropout", c -> c.dropout(0.2)),
            lora("pissa", c -> c.initialization(LoraInitialization.Kind.PISSA)),
            lora("dora", c -> c.useDora(true)).constantsInGradients(),
            lora("lora_bias", c -> c.loraBias(true).targetModules("mix", "up")),
            lora("bias lora_only", c -> c.bias(LoraBias.LORA_ONLY))
                .notAdditive()
                .other(plain().targetModules("mix", "down").build()),
            lora("modules_to_save", c -> c.modulesToSave("classifier", "layers.1.norm"))
                .notAdditive()
                .notCombinable(),
            lora("embedding", c -> c.targetModules("embed_tokens", "mix")))
        .map(fixture -> fixture.trainingSteps(10).build());
  }

  private static LoraConfigBuilder plain() {
    return LoraConfig.builder().rank(2).alpha(4).targetModules("mix", "up", "down");
  }

  private static Fixture.Builder lora(String name, UnaryOperator<LoraConfigBuilder> config) {
    return Fixture.builder(name, QuantizedBaseContractTest::network, config.apply(plain()).build());
  }

  private static TestNetwork network() {
    TestNetwork network = TestNetwork.tiny();
    Qlora.quantize(
        (Backbone) network.block(),
        BitsAndBytesConfig.builder().blockSize(32).skipModules(List.of("classifier")).build());
    return network;
  }
}
