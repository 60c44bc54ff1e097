package io.peft4j.bench;

import io.peft4j.Peft;
import io.peft4j.PeftConfig;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** Adding a new adapter to a base of the Llama shape: matching, initialising, attaching. */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@State(Scope.Benchmark)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class AddAdapterBenchmark {
  private static final String NAME = "new";

  /** Which layers are adapted: {@code qv} or {@code all}. */
  @Param({"qv", "all"})
  public String layers = "qv";

  private @Nullable PretrainedModel base;
  private @Nullable PeftModel model;
  private PeftConfig config = BaseShape.LLAMA.lora();

  /** Made by JMH. */
  public AddAdapterBenchmark() {}

  /** Makes the base. */
  @Setup(Level.Trial)
  public void open() {
    PretrainedModel made = BaseShape.LLAMA.random(Boolean.getBoolean("peft4j.bench.tiny"));
    base = made;
    model = Peft.open(made);
    config = layers.equals("qv") ? BaseShape.LLAMA.lora() : BaseShape.LLAMA.loraOnAll();
  }

  /** Frees it. */
  @TearDown(Level.Trial)
  public void close() {
    if (model != null && base != null) {
      model.close();
      base.close();
    }
  }

  /** Deletes what has been added. */
  @TearDown(Level.Invocation)
  public void delete() {
    if (model != null) {
      model.deleteAdapter(NAME);
    }
  }

  /** Adds an adapter. */
  @Benchmark
  public void add() {
    if (model != null) {
      model.addAdapter(NAME, config);
    }
  }
}
