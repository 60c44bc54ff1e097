package io.peft4j.bench;

import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/** Runs the JMH benchmarks, which fork a process each, and keeps their figures. */
final class MicroScenario {
  private MicroScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    ChainedOptionsBuilder options =
        new OptionsBuilder()
            .include(SwitchBenchmark.class.getSimpleName())
            .include(AddAdapterBenchmark.class.getSimpleName())
            .jvmArgsAppend("-Dpeft4j.bench.tiny=" + settings.tiny());
    if (settings.tiny()) {
      TimeValue moment = TimeValue.milliseconds(50);
      options.warmupTime(moment).measurementTime(moment);
    }
    try {
      for (RunResult result : new Runner(options.build()).run()) {
        String name = result.getPrimaryResult().getLabel();
        switch (name) {
          case "setActive" ->
              figures.add(
                  "switch.set_active." + result.getParams().getParam("loaded") + ".us",
                  result.getPrimaryResult().getScore());
          case "perRequest" ->
              figures.add(
                  "switch.per_request." + result.getParams().getParam("loaded") + ".us",
                  result.getPrimaryResult().getScore());
          default ->
              figures.add(
                  "add." + result.getParams().getParam("layers") + ".ms",
                  result.getPrimaryResult().getStatistics().getPercentile(50));
        }
      }
    } catch (RunnerException e) {
      throw new IllegalStateException(e);
    }
  }
}
