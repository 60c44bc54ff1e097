package io.peft4j.ia3;

import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** (IA)³ keeps the contract of every method. */
final class Ia3ContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
        fixture("outputs", TestNetwork::tiny, config().targetModules("mix", "up")).build(),
        fixture(
                "an input too",
                TestNetwork::tiny,
                config().targetModules("mix", "down").feedforwardModules("down"))
            .other(config().targetModules("mix", "up").build())
            .build(),
        fixture(
                "inputs of one layer twice",
                TestNetwork::tiny,
                config().targetModules("down").feedforwardModules("down"))
            .notCombinable()
            .build(),
        fixture("random", TestNetwork::tiny, config().targetModules("mix").initWeights(false))
            .actsFromTheStart()
            .build(),
        fixture(
                "a head",
                TestNetwork::tiny,
                config().targetModules("mix").modulesToSave("classifier"))
            .notCombinable()
            .build(),
        fixture(
                "stock layers",
                TestNetwork::linears,
                config().targetModules("01Linear", "03Linear").feedforwardModules("03Linear"))
            .notCombinable()
            .build());
  }

  private static Ia3Config.Builder config() {
    return Ia3Config.builder().feedforwardModules();
  }

  private static Fixture.Builder fixture(
      String name, Supplier<TestNetwork> network, Ia3Config.Builder config) {
    return Fixture.builder(name, network, config.build()).notAdditive();
  }
}
