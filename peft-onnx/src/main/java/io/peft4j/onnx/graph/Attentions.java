package io.peft4j.onnx.graph;

import io.peft4j.models.Network;
import io.peft4j.models.onnx.OnnxType;
import io.peft4j.torch.Attention;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Attention, over a cache of keys and values if there is one. */
final class Attentions {
  private final Operations to;
  private final Masks masks;
  private final Optional<Network.CacheShape> cache;

  Attentions(Operations to, Masks masks, Optional<Network.CacheShape> cache) {
    this.to = to;
    this.masks = masks;
    this.cache = cache;
  }

  /** Every token sees all tokens. Features are those of the query, for all heads. */
  String open(Attention attention, String query, long features, String key, String value) {
    long heads = attention.keyValueHeads();
    String keys = to.heads(key, heads);
    return attend(attention, query, features, keys, to.heads(value, heads), masks.padding());
  }

  /** A token sees those before it. */
  String causal(
      int layer,
      Attention attention,
      String query,
      long features,
      String key,
      String value,
      int window) {
    String keys = to.heads(key, attention.keyValueHeads());
    String values = to.heads(value, attention.keyValueHeads());
    if (cache.isPresent()) {
      keys = cached(layer, "key", keys, cache.get());
      values = cached(layer, "value", values, cache.get());
    }
    return attend(attention, query, features, keys, values, masks.causal(window));
  }

  private String cached(int layer, String part, String fresh, Network.CacheShape shape) {
    String past = "past_key_values." + layer + "." + part;
    String present = "present." + layer + "." + part;
    OnnxGraph graph = to.graph();
    graph.input(past, OnnxType.FLOAT, sizes(shape, "past_sequence_length"));
    String all = to.concat(2, past, fresh);
    graph.rename(all, present);
    graph.output(present, OnnxType.FLOAT, sizes(shape, "total_sequence_length"));
    return all;
  }

  private static List<Object> sizes(Network.CacheShape shape, String length) {
    return List.of("batch_size", shape.heads(), length, shape.size());
  }

  /** Heads that share keys stand for queries of one head, so that keys need not be repeated. */
  private String attend(
      Attention attention, String query, long features, String keys, String values, String mask) {
    long heads = attention.heads();
    long shared = attention.keyValueHeads();
    double scale =
        attention.scale() == 0 ? Math.pow((double) features / heads, -0.5) : attention.scale();
    String queries = to.heads(to.node("Mul", query, to.number(scale)), heads);
    if (shared != heads) {
      queries = to.node("Reshape", queries, to.integers(0, shared, -1, features / heads));
    }
    String scores = to.node("MatMul", queries, to.transpose(keys, 0, 1, 3, 2));
    double cap = attention.softcap();
    if (cap > 0) {
      String bounded = to.node("Tanh", to.node("Div", scores, to.number(cap)));
      scores = to.node("Mul", bounded, to.number(cap));
    }
    if (shared != heads) {
      scores = to.node("Reshape", scores, to.integers(0, heads, -1, 0));
    }
    String seen =
        to.node("Softmax", "", Map.of("axis", -1L), List.of(to.node("Add", scores, mask)));
    if (shared != heads) {
      seen = to.node("Reshape", seen, to.integers(0, shared, -1, 0));
    }
    String context = to.node("MatMul", seen, values);
    if (shared != heads) {
      context = to.node("Reshape", context, to.integers(0, heads, -1, features / heads));
    }
    return to.node("Reshape", to.transpose(context, 0, 2, 1, 3), to.integers(0, 0, features));
  }
}
