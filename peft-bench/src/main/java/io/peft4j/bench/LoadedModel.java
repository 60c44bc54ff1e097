package io.peft4j.bench;

import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import org.jspecify.annotations.Nullable;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** A base of the Llama shape with many adapters loaded. */
@State(Scope.Benchmark)
public class LoadedModel {
  /** How many adapters are loaded. */
  @Param({"1", "64", "100", "1000"})
  public int loaded;

  private @Nullable PretrainedModel base;
  private @Nullable PeftModel model;
  private String[] names = new String[0];
  private int next;

  /** Made by JMH. */
  public LoadedModel() {}

  /** Makes the base and its adapters. */
  @Setup(Level.Trial)
  public void open() {
    boolean tiny = Boolean.getBoolean("peft4j.bench.tiny");
    PretrainedModel made = BaseShape.LLAMA.random(tiny);
    base = made;
    PeftModel wrapped = Peft.open(made);
    model = wrapped;
    names = new String[loaded];
    for (int i = 0; i < loaded; i++) {
      names[i] = "adapter" + i;
      wrapped.addAdapter(names[i], BaseShape.LLAMA.lora());
    }
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    if (model != null && base != null) {
      model.close();
      base.close();
    }
  }

  PeftModel model() {
    if (model == null) {
      throw new IllegalStateException("not open");
    }
    return model;
  }

  /** The adapters' names, each in its turn. */
  String nextName() {
    next = next + 1 == names.length ? 0 : next + 1;
    return names[next];
  }
}
