package io.peft4j.onnx;

import io.peft4j.onnx.graph.WeightFormat;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * What an export did, and how far the graph's answers are from the model's.
 *
 * @param model the graph
 * @param architecture class of the model in transformers
 * @param source where the base came from; empty if that is not known
 * @param adapters the adapters that were merged, with their strengths; empty for none
 * @param fingerprint SHA-256 of the weights before merging, as hexadecimal digits
 * @param weights how the weights are stored
 * @param adapterLayers the layers that take adapters while the graph runs
 * @param values how many values of outputs were compared
 * @param error the largest difference of one, relative to the largest value of its output or to 1;
 *     where weights are rounded, that to a model with the rounded weights
 * @param tolerance the largest error allowed
 */
public record ExportReport(
    Path model,
    String architecture,
    String source,
    String adapters,
    String fingerprint,
    WeightFormat weights,
    List<String> adapterLayers,
    int values,
    double error,
    double tolerance) {

  /** Copies the list. */
  public ExportReport {
    adapterLayers = List.copyOf(adapterLayers);
  }

  /** What goes into the file. */
  Map<String, String> metadata() {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put("peft4j.architecture", architecture);
    metadata.put("peft4j.source", source);
    metadata.put("peft4j.adapters", adapters);
    metadata.put("peft4j.base_sha256", fingerprint);
    metadata.put("peft4j.weights", weights.name());
    metadata.put("peft4j.checked_values", String.valueOf(values));
    metadata.put("peft4j.largest_error", String.valueOf(error));
    metadata.put("peft4j.tolerance", String.valueOf(tolerance));
    return metadata;
  }
}
