package io.peft4j.testkit;

import java.util.stream.Stream;

/** The contract, kept by the smallest method. */
final class ShiftContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
            Fixture.builder(
                    "own layers", TestNetwork::tiny, ShiftConfig.of("layers.0.up", "classifier"))
                .other(ShiftConfig.of("layers.1.mix", "classifier")),
            Fixture.builder(
                    "a layer without a bias", TestNetwork::tiny, ShiftConfig.of("layers.0.down"))
                .notMergeable(),
            Fixture.builder("stock layers", TestNetwork::linears, ShiftConfig.of("01Linear")))
        .map(Fixture.Builder::build);
  }
}
