package io.peft4j.train.metric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class MetricsTest {
  private static NDList floats(NDManager manager, JsonNode values, Shape shape) {
    float[] floats = new float[values.size()];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values.get(i).asDouble();
    }
    return new NDList(manager.create(floats, shape));
  }

  private static NDList longs(NDManager manager, JsonNode values, Shape shape) {
    long[] longs = new long[values.size()];
    for (int i = 0; i < longs.length; i++) {
      longs[i] = values.get(i).asLong();
    }
    return new NDList(manager.create(longs, shape));
  }

  private static NDList rows(NDList all, String range) {
    NDList rows = new NDList();
    all.forEach(array -> rows.add(array.get(range)));
    return rows;
  }

  @Test
  void equalThoseOfScikitLearnInOneBatchOrSeveralAndAfterAnotherEvaluation() {
    JsonNode cases =
        Json.read(Path.of(System.getProperty("peft4j.golden"), "metrics", "metrics.json"));
    assertEquals(6, cases.size());
    for (JsonNode one : cases) {
      try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
        JsonNode sizes = one.get("shape");
        Shape shape = new Shape();
        for (JsonNode size : sizes) {
          shape = shape.add(size.asLong());
        }
        Shape rest = shape.slice(0, shape.dimension() - 1);
        boolean answers = one.get("items").asText().equals("answers");
        NDList outputs = floats(manager, one.get(answers ? "begins" : "logits"), shape);
        NDList labels = longs(manager, one.get(answers ? "first" : "labels"), rest);
        if (answers) {
          outputs.addAll(floats(manager, one.get("ends"), shape));
          labels.addAll(longs(manager, one.get("last"), rest));
        }
        Map<String, Double> found = new LinkedHashMap<>();
        for (Metric metric : metrics(one)) {
          metric.begin();
          metric.add(outputs, labels);
          Map<String, Double> whole = metric.result();
          metric.begin();
          metric.add(rows(outputs, ":2"), rows(labels, ":2"));
          metric.add(rows(outputs, "2:"), rows(labels, "2:"));
          assertEquals(whole, metric.result());
          found.putAll(whole);
        }
        one.get("values")
            .fields()
            .forEachRemaining(
                field -> {
                  String name =
                      field.getKey().equals("accuracy") && found.containsKey("token_accuracy")
                          ? "token_accuracy"
                          : field.getKey();
                  assertTrue(found.containsKey(name), name + " is not in " + found);
                  assertEquals(field.getValue().asDouble(), found.get(name), 1e-12, name);
                });
      }
    }
  }

  private static Iterable<Metric> metrics(JsonNode one) {
    if (one.get("items").asText().equals("answers")) {
      return List.of(Metrics.answers());
    }
    Items items = Items.valueOf(one.get("items").asText());
    List<Metric> all = new ArrayList<>();
    all.add(Metrics.accuracy(items));
    all.add(Metrics.matthewsCorrelation(items));
    for (Averaging averaging : Averaging.values()) {
      String name = "f1_" + averaging.name().toLowerCase(Locale.ROOT);
      if (one.get("values").has(averaging == Averaging.BINARY ? "f1" : name)) {
        all.add(Metrics.f1(items, averaging));
      }
    }
    return all;
  }

  @Test
  void nothingAddedIsNotANumber() {
    for (Metric metric :
        List.of(
            Metrics.accuracy(),
            Metrics.matthewsCorrelation(Items.TOKENS),
            Metrics.f1(Items.ROWS, Averaging.MACRO),
            Metrics.answers())) {
      metric.begin();
      metric.result().forEach((name, value) -> assertTrue(value.isNaN(), name));
    }
  }

  @Test
  void whatDoesNotFitIsRefused() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList logits = new NDList(manager.create(new float[] {1, 2, 3, 4, 5, 6}, new Shape(2, 3)));
      NDList tooLarge = new NDList(manager.create(new long[] {0, 3}));
      NDList negative = new NDList(manager.create(new long[] {0, -1}));
      NDList rows = new NDList(manager.create(new long[] {0, 1, 2}));
      NDList right = new NDList(manager.create(new long[] {0, 1}));
      Metric accuracy = Metrics.accuracy();
      for (NDList wrong : new NDList[] {tooLarge, negative, rows, new NDList(), logits}) {
        assertThrows(InvalidConfigException.class, () -> accuracy.add(logits, wrong));
      }
      assertThrows(InvalidConfigException.class, () -> accuracy.add(new NDList(), right));
      assertThrows(InvalidConfigException.class, () -> Metrics.answers().add(logits, right));
      assertThrows(
          InvalidConfigException.class,
          () -> Metrics.f1(Items.ROWS, Averaging.BINARY).add(logits, right));
    }
  }
}
