package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.peft4j.TrainableParameter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Files under {@code golden/optimizer} and what the tests make of them. */
final class Golden {
  private Golden() {}

  static JsonNode read(String name) {
    Path file = Path.of(System.getProperty("peft4j.golden"), "optimizer", name + ".json");
    try {
      return new ObjectMapper().readTree(file.toFile());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static float[] floats(JsonNode values) {
    float[] floats = new float[values.size()];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values.get(i).asDouble();
    }
    return floats;
  }

  static long[] longs(JsonNode values) {
    long[] longs = new long[values.size()];
    for (int i = 0; i < longs.length; i++) {
      longs[i] = values.get(i).asLong();
    }
    return longs;
  }

  static List<Double> doubles(JsonNode values) {
    List<Double> doubles = new ArrayList<>();
    values.forEach(value -> doubles.add(value.asDouble()));
    return doubles;
  }

  /** Parameters that record gradients, in the order of the file. */
  static Map<String, TrainableParameter> parameters(
      NDManager manager, JsonNode shapes, JsonNode values) {
    Map<String, TrainableParameter> parameters = new LinkedHashMap<>();
    shapes
        .fields()
        .forEachRemaining(
            field -> {
              NDArray array =
                  manager.create(
                      floats(values.get(field.getKey())), new Shape(longs(field.getValue())));
              array.setRequiresGradient(true);
              // A name with dots, as adapters' tensors have.
              array.setName("layer.0." + field.getKey());
              parameters.put(
                  field.getKey(), new TrainableParameter("default", field.getKey(), array));
            });
    return parameters;
  }
}
