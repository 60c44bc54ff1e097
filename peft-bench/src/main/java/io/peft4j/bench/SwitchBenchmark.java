package io.peft4j.bench;

import io.peft4j.PeftView;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/** Changing which adapter acts, for the model and for one request. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class SwitchBenchmark {

  /** Made by JMH. */
  public SwitchBenchmark() {}

  /**
   * Switches the model.
   *
   * @param loaded the model
   */
  @Benchmark
  public void setActive(LoadedModel loaded) {
    loaded.model().setActiveAdapters(loaded.nextName());
  }

  /**
   * Chooses an adapter for one request.
   *
   * @param loaded the model
   * @return the view
   */
  @Benchmark
  public PeftView perRequest(LoadedModel loaded) {
    return loaded.model().with(loaded.nextName());
  }
}
