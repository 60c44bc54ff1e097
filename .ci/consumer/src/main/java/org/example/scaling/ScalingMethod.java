package org.example.scaling;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerSpec;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** Multiplies the outputs of linear layers by learned vectors, which begin as ones. */
public final class ScalingMethod implements PeftMethod {

  @Override
  public String name() {
    return ScalingConfig.NAME;
  }

  @Override
  public Class<? extends PeftConfig> configType() {
    return ScalingConfig.class;
  }

  @Override
  public PeftConfig readConfig(ObjectNode json) {
    return ScalingConfig.fromJson(json);
  }

  @Override
  public void attach(AttachContext context, AdapterBuilder adapter) {
    Set<String> left = new HashSet<>(context.saved().map(Map::keySet).orElse(Set.of()));
    for (String path : context.config(ScalingConfig.class).targetModules()) {
      LayerSpec layer =
          context
              .layout()
              .layer(path)
              .filter(found -> found.kind().isLinear())
              .orElseThrow(() -> new InvalidConfigException(path + " is not a linear layer"));
      String key = PeftDirectory.PREFIX + path + ".scaling";
      NDArray vector = adapter.parameter(key, vector(context, key, layer.outFeatures()));
      adapter.at(layer, new Scaling(vector), "target_modules " + path);
      left.remove(key);
    }
    if (!left.isEmpty()) {
      throw new AdapterStateException("no place for " + left);
    }
  }

  private static NDArray vector(AttachContext context, String key, long size) {
    Shape shape = new Shape(size);
    if (context.saved().isEmpty()) {
      return context.manager().ones(shape);
    }
    NDArray saved = context.saved().get().get(key);
    if (saved == null || !saved.getShape().equals(shape)) {
      throw new AdapterStateException(
          key + " must be " + shape + ", was " + (saved == null ? "missing" : saved.getShape()));
    }
    NDArray own = saved.duplicate();
    own.attach(context.manager());
    return own;
  }
}
