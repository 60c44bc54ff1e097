package io.peft4j.testkit;

import static io.peft4j.AdapterSet.BASE;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.PeftModel;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Supplier;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;

/** Rows of one batch with different adapters. */
abstract class RowChecks extends Checks {
  private static final List<String> NAMES = List.of(BASE, A, B);
  private static final int ALL = (int) Math.pow(NAMES.size(), TestNetwork.ROWS);

  RowChecks(Supplier<Fixture> source) {
    super(source);
  }

  /** One of the {@link #ALL} ways to give each row an adapter or none. */
  private static List<String> rows(int way) {
    String[] names = new String[TestNetwork.ROWS];
    for (int row = 0; row < names.length; row++) {
      names[row] = NAMES.get(way % NAMES.size());
      way /= NAMES.size();
    }
    return Arrays.asList(names);
  }

  @Test
  void rowsComputeWhatSeparateRequestsCompute() {
    try (PeftModel model = wrapTwo()) {
      assertAllWays(model);
    }
  }

  @Test
  void rowsComputeTheSameWhileAnAdapterIsMerged() {
    try (PeftModel model = wrapTwo()) {
      if (fixture.mergeable()) {
        Map<String, float[]> before = separate(model);
        model.merge();
        assertWay(model, before, List.of(A, BASE, B, A));
      }
    }
  }

  private Map<String, float[]> separate(PeftModel model) {
    return Map.of(BASE, forward(model, new String[0]), A, forward(model, A), B, forward(model, B));
  }

  private void assertAllWays(PeftModel model) {
    Map<String, float[]> alone = separate(model);
    for (int way = 0; way < ALL; way++) {
      assertWay(model, alone, rows(way));
    }
  }

  private void assertWay(PeftModel model, Map<String, float[]> alone, List<String> rows) {
    float[] expected = Numbers.at(alone, BASE).clone();
    int width = expected.length / rows.size();
    for (int row = 0; row < rows.size(); row++) {
      System.arraycopy(Numbers.at(alone, rows.get(row)), row * width, expected, row * width, width);
    }
    float[] mixed = forward(model, AdapterSet.rows(rows));
    Numbers.assertClose(expected, mixed, fixture.tolerance(), "the output for rows " + rows);
  }

  @Test
  void gradientsOfRowsAreThoseOfSeparateRequests() {
    try (PeftModel model = wrapTwo()) {
      model.trainAdapters(A, B);
      for (List<String> rows :
          List.of(List.of(A, BASE, B, A), List.of(B, B, A, A), List.of(BASE, A, BASE, BASE))) {
        Map<String, float[]> mixed = gradients(model, AdapterSet.rows(rows), rows, NAMES);
        Map<String, float[]> expected = new TreeMap<>();
        for (String name : List.of(A, B)) {
          gradients(model, AdapterSet.of(name), rows, List.of(name))
              .forEach(
                  (key, values) -> {
                    if (key.startsWith(name + "/")) {
                      expected.put(key, values);
                    }
                  });
        }
        Numbers.assertClose(expected, mixed, fixture.tolerance(), "the gradient for rows " + rows);
      }
    }
  }

  /** The gradients of a weighted sum of the outputs of those rows that some adapters have. */
  private Map<String, float[]> gradients(
      PeftModel model, AdapterSet set, List<String> rows, List<String> counted) {
    return Sgd.gradients(
        model,
        set,
        network,
        manager,
        outputs -> {
          NDArray output = outputs.head();
          int width = (int) output.getShape().get(1);
          float[] factors = new float[rows.size() * width];
          for (int i = 0; i < factors.length; i++) {
            factors[i] = counted.contains(rows.get(i / width)) ? 1f / (1 + i) : 0;
          }
          NDArray weights = output.getManager().create(factors, new Shape(rows.size(), width));
          return output.mul(weights).sum();
        });
  }

  @Test
  void rowsAreChecked() {
    try (PeftModel model = wrapRandom()) {
      assertRefused(() -> forward(model, AdapterSet.rows(A, A)), "2 rows", "4 rows");
      assertRefused(() -> model.with(AdapterSet.rows(A, "missing", A, A)), "'missing'", A);
      NDList inputs = network.inputs(manager);
      model.deleteAdapter(A);
      assertRefused(
          () -> model.with(AdapterSet.rows(A, BASE, A, A)).forward(inputs), "'" + A + "'");
      Assertions.assertArrayEquals(
          forward(model), forward(model, AdapterSet.rows(BASE, BASE, BASE, BASE)), 1e-6f);
    }
  }
}
