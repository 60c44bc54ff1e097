package io.peft4j.onnx.graph;

import io.peft4j.models.onnx.OnnxType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What tokens see of each other: made once and used by all layers. */
final class Masks {
  private static final String MODULE = "mask";

  /** As good as minus infinity, and no softmax of nothing but it gives NaN. */
  private static final double LOWEST = -1e30;

  private final Operations to;
  private final Map<Integer, String> causal = new HashMap<>();
  private @Nullable String order;
  private @Nullable String padding;

  Masks(Operations to) {
    this.to = to;
  }

  /** 0, 1, 2 and so on, int64 [length]. */
  String order() {
    String made = order;
    if (made == null) {
      made =
          to.in(MODULE, () -> to.node("Range", to.integer(0), length("input_ids"), to.integer(1)));
      order = made;
    }
    return made;
  }

  private String length(String input) {
    return to.gather(to.node("Shape", input), 0, 1);
  }

  /** 1 for tokens that are not a certain one, int64 [batch, length]. */
  String notToken(int token) {
    String equal = to.node("Equal", "input_ids", to.integer(token));
    return to.cast(to.node("Not", equal), OnnxType.INT64);
  }

  /** Numbers of the tokens that are not a certain one, from one after it; int64 [batch, length]. */
  String orderAfter(int token) {
    String counted = notToken(token);
    String running = to.node("CumSum", counted, to.integer(1));
    return to.node("Add", to.node("Mul", running, counted), to.integer(token));
  }

  /** The rightmost token of each row that is not a certain one: [batch, features]. */
  String last(String x, int token) {
    String places = to.node("Mul", notToken(token), order());
    String last =
        to.node("ReduceMax", "", Map.of("axes", new long[] {1}, "keepdims", 1L), List.of(places));
    return to.node("GatherND", "", Map.of("batch_dims", 1L), List.of(x, last));
  }

  /** The mean of the tokens of each row that are no padding: [batch, features]. */
  String mean(String x) {
    String floats = to.cast("attention_mask", OnnxType.FLOAT);
    String counted = to.node("Unsqueeze", floats, to.integers(2));
    String sum = to.sum(to.node("Mul", x, counted), 1);
    return to.node("Div", sum, to.node("Max", to.sum(counted, 1), to.number(1)));
  }

  /** What hides padding, float32 [batch, 1, 1, length]. */
  String padding() {
    String made = padding;
    if (made == null) {
      made = to.in(MODULE, () -> hiding(tokens()));
      padding = made;
    }
    return made;
  }

  /** Which keys are tokens, bool [batch, 1, 1, keys]. */
  private String tokens() {
    return to.node("Unsqueeze", to.cast("attention_mask", OnnxType.BOOL), to.integers(1, 2));
  }

  private String hiding(String visible) {
    return to.node("Where", visible, to.number(0), to.number(LOWEST));
  }

  /** What hides padding, later tokens and those before a window: [batch, 1, length, keys]. */
  String causal(int window) {
    return causal.computeIfAbsent(window, w -> to.in(MODULE, () -> makeCausal(w)));
  }

  private String makeCausal(int window) {
    String total = length("attention_mask");
    String keys = to.node("Range", to.integer(0), total, to.integer(1));
    String first = to.node("Sub", total, length("input_ids"));
    String range = to.node("Range", first, total, to.integer(1));
    String queries = to.node("Unsqueeze", range, to.integers(1));
    String visible = to.node("LessOrEqual", keys, queries);
    if (window > 0) {
      String before = to.node("Sub", queries, to.integer(window));
      visible = to.node("And", visible, to.node("Greater", keys, before));
    }
    return hiding(to.node("And", visible, tokens()));
  }
}
