package io.peft4j.hybrid;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.PeftConfig;
import io.peft4j.nn.JoinAdapter;
import io.peft4j.nn.JoinCall;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.SavedTensors;
import io.peft4j.state.PeftDirectory;

/** See {@link NudgeConfig}. */
public final class NudgeMethod implements PeftMethod {
  private static final Shape SHAPE = new Shape(8);

  @Override
  public String name() {
    return NudgeConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return NudgeConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return NudgeConfig.fromJson(json);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    SavedTensors saved =
        context.saved().isPresent() ? new SavedTensors(context, PeftDirectory.PREFIX) : null;
    for (String join : context.config(NudgeConfig.class).joins()) {
      String key = join + ".nudge";
      NDArray vector = saved == null ? context.manager().zeros(SHAPE) : saved.require(key, SHAPE);
      if (vector != null) {
        adapter.atJoin(
            join, new Nudge(adapter.parameter(PeftDirectory.PREFIX + key, vector)), "joins");
      }
    }
    if (saved != null) {
      saved.finish();
    }
  }

  private record Nudge(NDArray vector) implements JoinAdapter {
    @Override
    public NDArray act(JoinCall call) {
      NDArray h = call.output();
      return h.add(h.tanh().mul(vector).mul(4 * call.strength()));
    }

    @Override
    public String describe() {
      return "nudge";
    }
  }
}
