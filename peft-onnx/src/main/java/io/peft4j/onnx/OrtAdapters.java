package io.peft4j.onnx;

import ai.onnxruntime.OrtLoraAdapter;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.onnx.graph.AdapterInputs;
import io.peft4j.state.Json;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;

/** The adapters of a graph, of which the last used ones are held by ONNX Runtime. */
final class OrtAdapters implements AutoCloseable {
  private final int most;
  private final Map<String, long[]> inputs;
  private final Map<String, Supplier<OnnxAdapter>> known = new LinkedHashMap<>();
  private final Map<String, Leased<OrtLoraAdapter>> held = new LinkedHashMap<>(16, 0.75f, true);

  /** For a graph whose metadata says which adapters it takes. */
  OrtAdapters(Map<String, String> metadata, int most) {
    this.most = most;
    inputs = new HashMap<>();
    JsonNode layers =
        Json.parse(
            metadata.getOrDefault(OnnxExporter.ADAPTER_LAYERS, "{}"), "the graph's metadata");
    layers
        .properties()
        .forEach(
            layer -> {
              long in = layer.getValue().path(0).asLong(-1);
              long out = layer.getValue().path(1).asLong(-1);
              inputs.put(AdapterInputs.a(layer.getKey()), new long[] {in, -1});
              inputs.put(AdapterInputs.b(layer.getKey()), new long[] {-1, out});
            });
  }

  synchronized List<String> names() {
    return List.copyOf(known.keySet());
  }

  void add(String name, Supplier<OnnxAdapter> source) {
    AdapterSet.checkName(name);
    checked(name, source);
    synchronized (this) {
      if (known.putIfAbsent(name, source) != null) {
        throw new AdapterStateException("there is an adapter '" + name + "' already");
      }
    }
  }

  private OnnxAdapter checked(String name, Supplier<OnnxAdapter> source) {
    OnnxAdapter adapter = source.get();
    List<String> differences = adapter.differences(inputs);
    if (!differences.isEmpty()) {
      int shown = Math.min(5, differences.size());
      throw new AdapterStateException(
          "adapter '"
              + name
              + "' is none of this graph: "
              + String.join("; ", differences.subList(0, shown))
              + (shown < differences.size() ? "; and " + (differences.size() - shown) : "")
              + (inputs.isEmpty() ? ". The graph was exported without adapter layers" : ""));
    }
    return adapter;
  }

  synchronized void remove(String name) {
    check(name);
    known.remove(name);
    Leased<OrtLoraAdapter> gone = held.remove(name);
    if (gone != null) {
      gone.retire();
    }
  }

  synchronized void check(String name) {
    if (!known.containsKey(name)) {
      throw new AdapterStateException(
          "there is no adapter '" + name + "'; there are " + new ArrayList<>(known.keySet()));
    }
  }

  /** An adapter whose use has begun: it is to be released. */
  synchronized Use use(String name) {
    check(name);
    Leased<OrtLoraAdapter> adapter = held.get(name);
    if (adapter == null) {
      byte[] bytes = checked(name, Objects.requireNonNull(known.get(name))).toBytes();
      adapter =
          new Leased<>(
              Ort.call("adapter '" + name + "'", () -> OrtLoraAdapter.create(bytes)),
              "adapter '" + name + "'");
      held.put(name, adapter);
      Iterator<Leased<OrtLoraAdapter>> oldest = held.values().iterator();
      while (held.size() > most) {
        Leased<OrtLoraAdapter> gone = oldest.next();
        oldest.remove();
        gone.retire();
      }
    }
    return new Use(adapter, List.of(adapter.acquire()));
  }

  /** What ONNX Runtime holds now, for tests. */
  synchronized int holds() {
    return held.size();
  }

  /** An adapter in use. */
  record Use(Leased<OrtLoraAdapter> lease, List<OrtLoraAdapter> adapters) implements AutoCloseable {
    @Override
    public void close() {
      lease.release();
    }
  }

  @Override
  public synchronized void close() {
    held.values().forEach(Leased::retire);
    held.clear();
    known.clear();
  }
}
