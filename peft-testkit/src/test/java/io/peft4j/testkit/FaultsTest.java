package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import io.peft4j.testkit.ShiftConfig.Fault;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** The contract finds the mistakes that a method can make. */
final class FaultsTest {
  private static Fault fault = Fault.NONE;

  /** Not found by itself: its name is not that of a test. */
  static final class Faulty extends MethodContract {
    static Stream<Fixture> fixtures() {
      ShiftConfig config = ShiftConfig.of("layers.0.up", "classifier").with(fault);
      return Stream.of(Fixture.builder("faulty", TestNetwork::tiny, config).build());
    }
  }

  private static Set<String> failures(Fault wanted) {
    fault = wanted;
    Set<String> failures = new TreeSet<>();
    LauncherDiscoveryRequest request =
        LauncherDiscoveryRequestBuilder.request().selectors(selectClass(Faulty.class)).build();
    LauncherFactory.create()
        .execute(
            request,
            new TestExecutionListener() {
              @Override
              public void executionFinished(TestIdentifier test, TestExecutionResult result) {
                if (result.getStatus() == TestExecutionResult.Status.FAILED) {
                  failures.add(test.getDisplayName().replaceAll("\\(.*", ""));
                }
              }
            });
    return failures;
  }

  @Test
  void aMethodWithoutFaultPasses() {
    assertEquals(Set.of(), failures(Fault.NONE));
  }

  @ParameterizedTest
  @CsvSource({
    "IGNORES_STRENGTH, strengthsScaleTheEffect effectsAddUpAndScaleInTheWeights",
    "FORGETS_TO_MERGE, mergedComputesTheSameAndComesBackBitForBit mergedForGoodIsThePlainNetwork",
    "MERGES_INTO_THE_BASE, mergedComputesTheSameAndComesBackBitForBit",
    "DOES_NOT_START_AT_ZERO, aNewAdapterChangesNothingUnlessItsConfigurationSaysSo",
    "TRAINS_THE_BASE, onlyTheTrainedAdapterChangesAndAllOfItDoes",
    "LEAKS, closingFreesWhatTheModelMade theDeletedActsNoMoreAndIsGone",
    "SAVES_LESS, savedAndLoadedIsTheSameAdapter theStateIsReplaced",
    "ACCEPTS_ANY_STATE, aStateThatDoesNotFitIsRefusedAndChangesNothing",
    "MIXES_ROWS, rowsComputeWhatSeparateRequestsCompute gradientsOfRowsAreThoseOfSeparateRequests",
    "RANDOM, theSameSeedGivesTheSameAdapter",
  })
  void aFaultIsFound(Fault wanted, String checks) {
    Set<String> failures = failures(wanted);
    assertTrue(failures.containsAll(List.of(checks.split(" "))), failures.toString());
  }
}
