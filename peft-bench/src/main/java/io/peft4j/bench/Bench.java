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
          Map.ofEntries(
              Map.entry("idle", IdleScenario::run),
              Map.entry("merge", MergeScenario::run),
              Map.entry("micro", MicroScenario::run),
              Map.entry("nf4", FourBitScenario::run),
              Map.entry("rows", RowsScenario::run),
              Map.entry("serve", ServeScenario::run),
              Map.entry("methods", MethodsScenario::run),
              Map.entry("joint", JointScenario::run),
              Map.entry("prepare", LoadScenario::prepare),
              Map.entry("load", LoadScenario::run),
              Map.entry("train-8x128-fp32", all -> TrainScenario.run(all, 8, 128, false)),
              Map.entry("train-8x128-fastest", all -> TrainScenario.run(all, 8, 128, true)),
              Map.entry("train-32x64-fp32", all -> TrainScenario.run(all, 32, 64, false)),
              Map.entry("train-32x64-fastest", all -> TrainScenario.run(all, 32, 64, true)),
              Map.entry("prepare-135m", all -> GenerateScenario.prepare(all, BaseShape.LLAMA)),
              Map.entry("prepare-1b", all -> GenerateScenario.prepare(all, BaseShape.LLAMA_1B)),
              Map.entry("generate-135m", all -> GenerateScenario.run(all, BaseShape.LLAMA)),
              Map.entry("generate-1b", all -> GenerateScenario.run(all, BaseShape.LLAMA_1B)),
              Map.entry("prepare-4bit", all -> GenerateScenario.prepare(all, BaseShape.LLAMA)),
              Map.entry("generate-4bit", GenerateScenario::fourBit),
              Map.entry("first-135m", all -> GenerateScenario.firstToken(all, BaseShape.LLAMA)),
              Map.entry("first-1b", all -> GenerateScenario.firstToken(all, BaseShape.LLAMA_1B)),
              Map.entry("memory-135m", all -> GenerateScenario.memory(all, BaseShape.LLAMA)),
              Map.entry("memory-1b", all -> GenerateScenario.memory(all, BaseShape.LLAMA_1B)),
              Map.entry("gguf", GenerateScenario::gguf)));

  private Bench() {}

  /**
   * Runs a scenario.
   *
   * @param arguments the scenario's name, then its options
   */
  public static void main(String[] arguments) {
    List<String> all = Arrays.asList(arguments);
    String name = all.isEmpty() ? "" : all.get(0);
    Consumer<Settings> scenario =
        name.matches("train-(135m|1b)-.*")
            ? settings -> DecoderTrainScenario.run(settings, name)
            : SCENARIOS.get(name);
    if (scenario == null) {
      System.err.println(
          "scenarios are "
              + SCENARIOS.keySet()
              + " and train-(135m|1b)-ROWSxLENGTH[rRANK]-(fp32|fastest)[-recomputed|-recorded], given was "
              + all);
      System.exit(2);
      return;
    }
    scenario.accept(Settings.parse(all.subList(1, all.size())));
    // What other libraries keep running must not keep a measurement waiting.
    System.exit(0);
  }
}
