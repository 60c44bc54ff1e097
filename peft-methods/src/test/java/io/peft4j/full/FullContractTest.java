package io.peft4j.full;

import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** Full fine-tuning keeps the contract of every method. */
final class FullContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
        full("everything", TestNetwork::tiny),
        full("but for embeddings and norms", TestNetwork::tiny, "embed_tokens", "norm"),
        full("stock linear layers", TestNetwork::linears),
        full("stock convolutions", TestNetwork::convolutions));
  }

  private static Fixture full(String name, Supplier<TestNetwork> network, String... frozen) {
    return Fixture.builder(name, network, FullConfig.builder().freeze(frozen).build())
        .notAdditive()
        .notCombinable()
        .build();
  }
}
