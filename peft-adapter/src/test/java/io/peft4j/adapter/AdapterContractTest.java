package io.peft4j.adapter;

import io.peft4j.testkit.Fixture;
import io.peft4j.testkit.MethodContract;
import io.peft4j.testkit.TestNetwork;
import java.util.Map;
import java.util.stream.Stream;

/** Bottleneck adapters keep the contract of every method. */
final class AdapterContractTest extends MethodContract {

  static Stream<Fixture> fixtures() {
    return Stream.of(
        fixture("seq_bn", AdapterConfig.seqBn().scaling(Scaling.fixed(20)))
            .actsFromTheStart()
            .notAdditive()
            .build(),
        fixture(
                "double_seq_bn from nothing",
                AdapterConfig.doubleSeqBn().initialization(Initialization.IDENTITY))
            .notAdditive()
            .build(),
        fixture("par_bn", AdapterConfig.parBn()).build(),
        fixture("scaled_par_bn", AdapterConfig.scaledParBn().leaveOut(0)).build(),
        fixture("norms", AdapterConfig.parBn().normBefore(true).normAfter(true)).build(),
        fixture("a gate", AdapterConfig.parBn().gating(true)).build(),
        fixture(
                "layers of their own",
                AdapterConfig.parBn()
                    .reductionFactors(Map.of(1, 0.5), 3)
                    .nonLinearity(NonLinearity.TANH))
            .build(),
        fixture("a head", AdapterConfig.parBn().modulesToSave("classifier"))
            .notCombinable()
            .build());
  }

  private static Fixture.Builder fixture(String name, AdapterConfigBuilder config) {
    AdapterConfigBuilder narrow =
        config.build().reductionFactor(0).orElseThrow() > 8 ? config.reductionFactor(2) : config;
    return Fixture.builder(name, TestNetwork::tiny, narrow.build()).notMergeable();
  }
}
