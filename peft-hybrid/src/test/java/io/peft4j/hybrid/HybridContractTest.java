package io.peft4j.hybrid;

import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import io.peft4j.vera.VeraConfig;
import java.util.stream.Stream;

/** Hybrids keep the contract of every method. */
final class HybridContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
            Fixture.builder(
                "products",
                TestNetwork::tiny,
                HybridConfig.builder()
                    .part("first", lora("mix", "up"))
                    .part("second", lora("up", "classifier"))
                    .part("shared", vera("mix", "down"))
                    .build()),
            Fixture.builder(
                    "products and vectors",
                    TestNetwork::tiny,
                    HybridConfig.builder()
                        .part("task", lora("mix", "up"))
                        .part("gains", vectors("mix", "down"))
                        .build())
                .notAdditive(),
            Fixture.builder(
                    "what cannot be merged",
                    TestNetwork::tiny,
                    HybridConfig.builder()
                        .part("task", lora("mix", "down"))
                        .part("domain", NudgeConfig.of("layers.0", "layers.1"))
                        .build())
                .other(lora("up"))
                .notAdditive()
                .mergeableInPart(),
            Fixture.builder(
                    "nothing that can be merged",
                    TestNetwork::tiny,
                    HybridConfig.builder()
                        .part("domain", NudgeConfig.of("layers.0", "layers.1"))
                        .build())
                .other(lora("up"))
                .notAdditive()
                .notMergeable(),
            Fixture.builder(
                "stock layers",
                TestNetwork::linears,
                HybridConfig.builder()
                    .part("first", lora("01Linear"))
                    .part("second", lora("01Linear", "03Linear"))
                    .build()))
        .map(Fixture.Builder::build);
  }

  private static LoraConfig lora(String... targets) {
    return LoraConfig.builder().rank(2).alpha(4).targetModules(targets).build();
  }

  private static VeraConfig vera(String... targets) {
    return VeraConfig.builder().rank(16).initialD(1).targetModules(targets).build();
  }

  private static Ia3Config vectors(String... targets) {
    return Ia3Config.builder().feedforwardModules().targetModules(targets).build();
  }
}
