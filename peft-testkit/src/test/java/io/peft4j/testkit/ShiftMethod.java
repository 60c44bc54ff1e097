package io.peft4j.testkit;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerSpec;
import io.peft4j.testkit.ShiftConfig.Fault;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;

/** See {@link ShiftConfig}. */
public final class ShiftMethod implements PeftMethod {
  private static final AtomicInteger COUNTER = new AtomicInteger();

  @Override
  public String name() {
    return ShiftConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return ShiftConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return ShiftConfig.fromJson(json);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    ShiftConfig config = context.config(ShiftConfig.class);
    Set<String> left = new HashSet<>(context.saved().map(Map::keySet).orElse(Set.of()));
    for (String path : config.targets()) {
      LayerSpec layer =
          context
              .layout()
              .layer(path)
              .orElseThrow(() -> new InvalidConfigException("there is no layer " + path));
      String key = PeftDirectory.PREFIX + path + ".shift";
      NDArray vector = adapter.parameter(key, vector(context, config, layer, key));
      NDArray base = context.weight(layer).dense();
      adapter.at(layer, new Shift(vector, base, config.fault()), "targets " + path);
      left.remove(key);
    }
    if (!left.isEmpty() && config.fault() != Fault.ACCEPTS_ANY_STATE) {
      throw new AdapterStateException("no place for " + left);
    }
    if (config.fault() == Fault.SAVES_LESS) {
      adapter.exportAs(
          () -> {
            TreeMap<String, NDArray> tensors = new TreeMap<>(adapter.parameters());
            tensors.replaceAll((key, array) -> array.onesLike());
            return new AdapterState(config.toJson(), tensors);
          });
    }
    if (config.fault() == Fault.LEAKS) {
      adapter
          .keep(context.manager().zeros(new Shape(1)))
          .attach(context.manager().getParentManager());
    }
  }

  private static NDArray vector(
      AttachContext context, ShiftConfig config, LayerSpec layer, String key) {
    Shape shape = new Shape(layer.outFeatures());
    if (context.saved().isEmpty()) {
      return switch (config.fault()) {
        case DOES_NOT_START_AT_ZERO -> context.manager().ones(shape);
        case RANDOM -> context.manager().full(shape, 1e-9f * COUNTER.incrementAndGet());
        default -> context.manager().zeros(shape);
      };
    }
    NDArray saved = context.saved().get().get(key);
    if (saved == null || !saved.getShape().equals(shape)) {
      throw new AdapterStateException(key + " must be " + shape);
    }
    NDArray own = saved.duplicate();
    own.attach(context.manager());
    return own;
  }
}
