package io.peft4j.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;

/**
 * Runs one scenario: {@code Bench SCENARIO [--tiny] [--output FILE] [--models DIR]}. The number of
 * threads is the engine's setting, {@code -Dai.djl.pytorch.num_threads}.
 */
public final class Bench {
  private static final Map<String, Consumer<Settings>> SCENARIOS =
      new TreeMap<>(
          Map.of(
              "idle", IdleScenario::run,
              "merge", MergeScenario::run,
              "micro", MicroScenario::run,
              "prepare", LoadScenario::prepare,
              "load", LoadScenario::run,
              "train-8x128-fp32", settings -> TrainScenario.run(settings, 8, 128, false),
              "train-8x128-fastest", settings -> TrainScenario.run(settings, 8, 128, true),
              "train-32x64-fp32", settings -> TrainScenario.run(settings, 32, 64, false),
              "train-32x64-fastest", settings -> TrainScenario.run(settings, 32, 64, true)));

  private Bench() {}

  /**
   * Runs a scenario.
   *
   * @param arguments the scenario's name, then its options
   */
  public static void main(String[] arguments) {
    List<String> all = Arrays.asList(arguments);
    Consumer<Settings> scenario = all.isEmpty() ? null : SCENARIOS.get(all.get(0));
    if (scenario == null) {
      System.err.println("scenarios are " + SCENARIOS.keySet() + ", given was " + all);
      System.exit(2);
      return;
    }
    scenario.accept(Settings.parse(all.subList(1, all.size())));
    // What other libraries keep running must not keep a measurement waiting.
    System.exit(0);
  }
}
