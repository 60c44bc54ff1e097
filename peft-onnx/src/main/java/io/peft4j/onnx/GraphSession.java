package io.peft4j.onnx;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OnnxValue;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoraAdapter;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * A graph with the inputs and outputs of transformers, open in ONNX Runtime. Safe for use by
 * several threads; the caller closes it.
 */
final class GraphSession implements AutoCloseable {
  private static final String PAST = "past_key_values.";
  private static final String PRESENT = "present.";
  private static final Set<String> TOKENS =
      Set.of("input_ids", "attention_mask", "token_type_ids", "position_ids");

  private final OrtSession session;
  private final Map<String, long[]> past = new HashMap<>();

  GraphSession(Path model, int threads) {
    session = Ort.open(model, threads);
    try {
      for (Map.Entry<String, NodeInfo> input : session.getInputInfo().entrySet()) {
        if (input.getKey().startsWith(PAST)
            && input.getValue().getInfo() instanceof TensorInfo info) {
          past.put(input.getKey(), info.getShape());
        } else if (!TOKENS.contains(input.getKey())) {
          throw new MalformedFileException(
              model
                  + ": the graph has an input '"
                  + input.getKey()
                  + "'; known are "
                  + new TreeSet<>(TOKENS)
                  + " and past_key_values");
        }
      }
    } catch (OrtException | RuntimeException e) {
      close();
      throw e instanceof RuntimeException known
          ? known
          : new MalformedFileException(model + ": " + e.getMessage(), e);
    }
  }

  boolean hasCache() {
    return !past.isEmpty();
  }

  Set<String> outputs() {
    return session.getOutputNames();
  }

  Map<String, String> metadata() {
    return Ort.call("the metadata", () -> session.getMetadata().getCustomMetadata());
  }

  /** Keys and values of no tokens. The caller closes them. */
  Map<String, OnnxTensor> emptyPast(int rows) {
    Map<String, OnnxTensor> empty = new HashMap<>();
    past.forEach(
        (name, shape) ->
            empty.put(
                name,
                Ort.floats(
                    Ort.direct(Float.BYTES, 0).asFloatBuffer().limit(0),
                    rows,
                    shape[1],
                    0,
                    shape[3])));
    return empty;
  }

  /** Keys and values that a run gave, as the next one takes them; they go with the result. */
  Map<String, OnnxTensor> past(OrtSession.Result result) {
    Map<String, OnnxTensor> next = new HashMap<>();
    for (String name : past.keySet()) {
      next.put(name, tensor(result, PRESENT + name.substring(PAST.length())));
    }
    return next;
  }

  static OnnxTensor tensor(OrtSession.Result result, String name) {
    OnnxValue value = result.get(name).orElse(null);
    if (value instanceof OnnxTensor tensor) {
      return tensor;
    }
    throw new MalformedFileException("the graph has no output '" + name + "'");
  }

  /**
   * Runs the graph.
   *
   * @param batch the tokens
   * @param before keys and values of earlier tokens; null for none
   * @param adapters act on all rows
   * @return the outputs, which the caller closes
   */
  OrtSession.Result run(
      TokenBatch batch, @Nullable Map<String, OnnxTensor> before, List<OrtLoraAdapter> adapters) {
    List<OnnxTensor> own = new ArrayList<>();
    Map<String, OnnxTensor> inputs = new HashMap<>();
    try (OrtSession.RunOptions options = new OrtSession.RunOptions()) {
      for (OrtLoraAdapter adapter : adapters) {
        options.addActiveLoraAdapter(adapter);
      }
      put(inputs, own, "input_ids", batch.ids(), batch.rows());
      put(inputs, own, "attention_mask", batch.mask(), batch.rows());
      put(inputs, own, "token_type_ids", batch.types(), batch.rows());
      put(inputs, own, "position_ids", batch.positions(), batch.rows());
      if (before == null) {
        Map<String, OnnxTensor> empty = emptyPast(batch.rows());
        own.addAll(empty.values());
        inputs.putAll(empty);
      } else {
        inputs.putAll(before);
      }
      return session.run(inputs, options);
    } catch (OrtException e) {
      throw new PeftException("ONNX Runtime cannot run the graph: " + e.getMessage(), e);
    } finally {
      own.forEach(OnnxTensor::close);
    }
  }

  private void put(
      Map<String, OnnxTensor> inputs, List<OnnxTensor> own, String name, long[] values, int rows) {
    if (session.getInputNames().contains(name)) {
      OnnxTensor tensor = Ort.integers(values, rows, values.length / rows);
      own.add(tensor);
      inputs.put(name, tensor);
    }
  }

  @Override
  public void close() {
    try {
      session.close();
    } catch (OrtException e) {
      throw new PeftException("ONNX Runtime cannot close a session: " + e.getMessage(), e);
    }
  }
}
