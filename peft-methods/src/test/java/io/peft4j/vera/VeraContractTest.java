package io.peft4j.vera;

import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** VeRA keeps the contract of every method. */
final class VeraContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
        fixture("default", TestNetwork::tiny, config()).build(),
        fixture("dropout", TestNetwork::tiny, config().dropout(0.2)).build(),
        fixture("without the projection", TestNetwork::tiny, config().saveProjection(false))
            .build(),
        fixture("random", TestNetwork::tiny, config().initWeights(false))
            .actsFromTheStart()
            .build(),
        fixture("biases", TestNetwork::tiny, config().bias("vera_only"))
            .notAdditive()
            .notCombinable()
            .build(),
        fixture("a head", TestNetwork::tiny, config().modulesToSave("classifier"))
            .notAdditive()
            .notCombinable()
            .build(),
        fixture(
                "stock layers",
                TestNetwork::linears,
                VeraConfig.builder().rank(4).targetModules("01Linear", "03Linear"))
            .build());
  }

  private static VeraConfig.Builder config() {
    return VeraConfig.builder().rank(16).initialD(1).targetModules("mix", "up", "down");
  }

  private static Fixture.Builder fixture(
      String name, Supplier<TestNetwork> network, VeraConfig.Builder config) {
    return Fixture.builder(name, network, config.build()).trainingSteps(300);
  }
}
