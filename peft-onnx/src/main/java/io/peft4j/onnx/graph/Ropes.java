package io.peft4j.onnx.graph;

import ai.djl.ndarray.NDManager;
import io.peft4j.models.decoder.Rope;
import io.peft4j.models.onnx.OnnxType;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Rotary;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Rotary positions: tables of cosines and sines, made once for each kind of angles. */
final class Ropes {
  private static final String MODULE = "rope";

  private final Operations to;
  private final Map<Rope, Tables> tables = new HashMap<>();

  /** Float32 [batch, length, 1, half of what is turned]. */
  private record Tables(String cosines, String sines) {}

  Ropes(Operations to) {
    this.to = to;
  }

  String rotate(String x, Rope rope, Rotary rotary) {
    Tables turns = tables.computeIfAbsent(rope, r -> to.in(MODULE, () -> tables(r)));
    int half = rotary.turned() / 2;
    String heads = to.node("Reshape", x, to.integers(0, 0, -1, rotary.headSize()));
    String first = to.slice(heads, 3, 0, half);
    String second = to.slice(heads, 3, half, rotary.turned());
    String upper =
        to.node("Sub", to.node("Mul", first, turns.cosines), to.node("Mul", second, turns.sines));
    String lower =
        to.node("Add", to.node("Mul", second, turns.cosines), to.node("Mul", first, turns.sines));
    String turned =
        rotary.turned() == rotary.headSize()
            ? to.concat(3, upper, lower)
            : to.concat(3, upper, lower, to.slice(heads, 3, rotary.turned(), rotary.headSize()));
    return to.node("Reshape", turned, to.integers(0, 0, -1));
  }

  private Tables tables(Rope rope) {
    String positions = to.cast("position_ids", OnnxType.FLOAT);
    String angles =
        to.node("Mul", to.node("Unsqueeze", positions, to.integers(2, 3)), frequencies(rope));
    double factor = rope.scaling().attentionFactor();
    return new Tables(
        scaled(to.node("Cos", angles), factor), scaled(to.node("Sin", angles), factor));
  }

  private String scaled(String x, double factor) {
    return factor == 1 ? x : to.node("Mul", x, to.number(factor));
  }

  private String frequencies(Rope rope) {
    if (rope.scaling() instanceof Rope.LongFactors factors) {
      return to.node(
          "Where",
          to.node("Greater", reach(), to.number(factors.trained())),
          constant(rope, "long", factors.trained()),
          constant(rope, "short", 0));
    }
    return rope.scaling() instanceof Rope.Dynamic dynamic
        ? growing(rope, dynamic)
        : constant(rope, "frequencies", 0);
  }

  /** How many positions the longest row has, float32 scalar. */
  private String reach() {
    String largest = to.node("ReduceMax", "", Map.of("keepdims", 0L), List.of("position_ids"));
    return to.cast(to.node("Add", largest, to.integer(1)), OnnxType.FLOAT);
  }

  private String constant(Rope rope, String name, long largest) {
    try (GradMode off = GradMode.off();
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      float[] values = rope.frequencies(manager, largest).toFloatArray();
      // Angles of several kinds have tables of their own.
      String unique = MODULE + "." + tables.size() + "." + name;
      return to.graph().initializer(Initializer.of(unique, values, values.length));
    }
  }

  /** As {@link Rope.Dynamic} says, of the largest position of a run. */
  private String growing(Rope rope, Rope.Dynamic dynamic) {
    double power = rope.size() / (rope.size() - 2.0);
    String reach = reach();
    String ratio =
        to.node(
            "Sub",
            to.node(
                "Div",
                to.node("Mul", reach, to.number(dynamic.factor())),
                to.number(dynamic.trained())),
            to.number(dynamic.factor() - 1));
    String grown = to.node("Mul", to.node("Pow", ratio, to.number(power)), to.number(rope.theta()));
    String base =
        to.node(
            "Where",
            to.node("Greater", reach, to.number(dynamic.trained())),
            grown,
            to.number(rope.theta()));
    float[] exponents = new float[rope.size() / 2];
    for (int i = 0; i < exponents.length; i++) {
      exponents[i] = 2f * i / rope.size();
    }
    String name = MODULE + "." + tables.size() + ".exponents";
    String exponent = to.graph().initializer(Initializer.of(name, exponents, exponents.length));
    return to.node("Reciprocal", to.node("Pow", base, exponent));
  }
}
