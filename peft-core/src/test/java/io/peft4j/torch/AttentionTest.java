package io.peft4j.torch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Attention, rotation and dropout against the formulas written out in Java. */
class AttentionTest {
  private static final int BATCH = 2;
  private static final int LENGTH = 5;
  private static final int SIZE = 4;

  private static float[] random(int seed, int count) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  private static double[] attend(
      float[] q, float[] k, float[] v, int heads, int keyHeads, boolean[][][] seen) {
    double[] out = new double[BATCH * LENGTH * heads * SIZE];
    for (int b = 0; b < BATCH; b++) {
      for (int h = 0; h < heads; h++) {
        int kh = h / (heads / keyHeads);
        for (int i = 0; i < LENGTH; i++) {
          double[] weights = new double[LENGTH];
          double sum = 0;
          for (int j = 0; j < LENGTH; j++) {
            double score = 0;
            for (int d = 0; d < SIZE; d++) {
              score +=
                  q[((b * LENGTH + i) * heads + h) * SIZE + d]
                      * k[((b * LENGTH + j) * keyHeads + kh) * SIZE + d];
            }
            weights[j] = seen[b][i][j] ? Math.exp(score / Math.sqrt(SIZE)) : 0;
            sum += weights[j];
          }
          for (int j = 0; j < LENGTH && sum > 0; j++) {
            for (int d = 0; d < SIZE; d++) {
              out[((b * LENGTH + i) * heads + h) * SIZE + d] +=
                  weights[j] / sum * v[((b * LENGTH + j) * keyHeads + kh) * SIZE + d];
            }
          }
        }
      }
    }
    return out;
  }

  @ParameterizedTest
  @CsvSource({
    "4, 4, false, false",
    "4, 2, false, false",
    "4, 1, true, false",
    "4, 4, true, false",
    "4, 4, false, true",
    "4, 2, true, true"
  })
  void isTheFormula(int heads, int keyHeads, boolean causal, boolean padded) {
    boolean[][][] seen = new boolean[BATCH][LENGTH][LENGTH];
    float[] padding = new float[BATCH * LENGTH];
    for (int b = 0; b < BATCH; b++) {
      for (int j = 0; j < LENGTH; j++) {
        // The second row begins with padding, so that its first queries see nothing if causal.
        boolean pad = padded && b == 1 && j < 2;
        padding[b * LENGTH + j] = pad ? Float.NEGATIVE_INFINITY : 0;
        for (int i = 0; i < LENGTH; i++) {
          seen[b][i][j] = !pad && (!causal || j <= i);
        }
      }
    }
    float[] q = random(1, BATCH * LENGTH * heads * SIZE);
    float[] k = random(2, BATCH * LENGTH * keyHeads * SIZE);
    float[] v = random(3, BATCH * LENGTH * keyHeads * SIZE);
    double[] expected = attend(q, k, v, heads, keyHeads, seen);
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      NDArray qa = manager.create(q, new Shape(BATCH, LENGTH, (long) heads * SIZE));
      NDArray ka = manager.create(k, new Shape(BATCH, LENGTH, (long) keyHeads * SIZE));
      NDArray va = manager.create(v, new Shape(BATCH, LENGTH, (long) keyHeads * SIZE));
      NDArray mask = padded ? manager.create(padding, new Shape(BATCH, 1, 1, LENGTH)) : null;
      NDArray whole =
          mask != null && causal ? Attention.causalMask(manager, mask, null, 0, LENGTH, 0) : mask;
      Attention attention = Attention.of(heads, keyHeads);
      NDArray actual = attention.attend(qa, ka, va, whole, causal && mask == null, 0);
      assertEquals(qa.getShape(), actual.getShape());
      assertNear(expected, actual.toFloatArray(), 1e-5, null);

      // With hardly anything dropped the other form is the same wherever something is seen.
      NDArray dropping = attention.attend(qa, ka, va, whole, causal && mask == null, 1e-9);
      assertNear(expected, dropping.toFloatArray(), 1e-5, seen);
    }
  }

  /** Steps over a cache see what one pass sees, in each of the ways that a query can be limited. */
  @ParameterizedTest
  @CsvSource({
    "4, 4, 0, 0, false",
    "4, 2, 0, 0, true",
    "4, 2, 3, 0, false",
    "4, 1, 3, 0, true",
    "4, 2, 2, 1.5, true"
  })
  void stepsOverACacheAreTheWholePass(
      int heads, int keyHeads, int window, double softcap, boolean padded) {
    float[] padding = new float[BATCH * LENGTH];
    padding[LENGTH] = padded ? Float.NEGATIVE_INFINITY : 0;
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      NDArray q =
          manager.create(
              random(1, BATCH * LENGTH * heads * SIZE),
              new Shape(BATCH, LENGTH, (long) heads * SIZE));
      Shape keyShape = new Shape(BATCH, LENGTH, (long) keyHeads * SIZE);
      NDArray k = manager.create(random(2, BATCH * LENGTH * keyHeads * SIZE), keyShape);
      NDArray v = manager.create(random(3, BATCH * LENGTH * keyHeads * SIZE), keyShape);
      NDArray mask = padded ? manager.create(padding, new Shape(BATCH, 1, 1, LENGTH)) : null;
      Attention attention = new Attention(heads, keyHeads, 0.4, softcap);
      float[] whole =
          attention
              .attend(
                  q, k, v, Attention.causalMask(manager, mask, null, 0, LENGTH, window), false, 0)
              .toFloatArray();
      NDArray keys = manager.zeros(new Shape(BATCH, keyHeads, LENGTH + 2, SIZE));
      NDArray values = manager.zeros(keys.getShape());
      int row = heads * SIZE;
      for (int begin = 0; begin < LENGTH; ) {
        int end = begin == 0 ? 2 : begin == 2 ? 4 : LENGTH;
        NDIndex part = new NDIndex(":, {}:{}", begin, end);
        NDArray seen = mask == null ? null : mask.get(":, :, :, :{}", end);
        boolean free = mask == null && end - begin == 1;
        NDArray limits =
            free ? null : Attention.causalMask(manager, seen, null, begin, end - begin, window);
        NDArray past = manager.create((long) begin);
        NDArray y =
            attention.attendCached(
                q.get(part), k.get(part), v.get(part), keys, values, past, limits, window);
        float[] step = y.toFloatArray();
        for (int b = 0; b < BATCH; b++) {
          for (int i = 0; i < (end - begin) * row; i++) {
            int at = (b * LENGTH + begin) * row + i;
            boolean pad = padded && b == 1 && at < (LENGTH + 1) * row;
            if (!pad) {
              assertEquals(whole[at], step[b * (end - begin) * row + i], 1e-5);
            }
          }
        }
        begin = end;
      }
    }
  }

  private static void assertNear(
      double[] expected, float[] actual, double tolerance, boolean[][][] seen) {
    int row = expected.length / BATCH / LENGTH;
    for (int i = 0; i < expected.length; i++) {
      boolean any = seen == null;
      for (int j = 0; j < LENGTH && !any; j++) {
        any = seen[i / row / LENGTH][i / row % LENGTH][j];
      }
      if (any) {
        assertEquals(expected[i], actual[i], tolerance);
      } else {
        assertTrue(Float.isFinite(actual[i]));
      }
    }
  }

  @Test
  void gradientsStayFiniteWhereNothingIsSeen() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode on = GradMode.on()) {
      for (double dropout : new double[] {0, 0.5}) {
        NDArray x = manager.create(random(1, 2 * 3 * 8), new Shape(2, 3, 8));
        x.setRequiresGradient(true);
        NDArray mask =
            manager.full(new Shape(2, 1, 1, 3), Float.NEGATIVE_INFINITY, DataType.FLOAT32);
        NDArray y =
            Attention.of(2, 2)
                .attend(
                    x, x, x, Attention.causalMask(manager, mask, null, 0, 3, 0), false, dropout);
        ai.djl.pytorch.jni.JniUtils.backward(
            (ai.djl.pytorch.engine.PtNDArray) y.sum(),
            (ai.djl.pytorch.engine.PtNDArray) manager.create(1f),
            false,
            false);
        assertTrue(Ops.allFinite(x.getGradient()), "dropout " + dropout);
      }
    }
  }

  @ParameterizedTest
  @org.junit.jupiter.params.provider.ValueSource(ints = {6, 4})
  void rotationTurnsHalvesByTheirAngles(int turned) {
    int size = 6;
    int half = turned / 2;
    float[] q = random(1, 2 * size);
    double[] angles = {0.3, -1, 2, 0.01, 1.5, 4};
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      NDArray angle =
          manager
              .create(java.util.Arrays.copyOf(angles, 2 * half), new Shape(1, 2, 1, half))
              .toType(DataType.FLOAT32, false);
      NDArray query = manager.create(q, new Shape(1, 2, size));
      NDList tables = new NDList(angle.cos(), angle.sin());
      float[] result = new Rotary(size, turned).rotate(query, query, tables).get(1).toFloatArray();
      for (int place = 0; place < 2; place++) {
        for (int i = 0; i < half; i++) {
          double by = angles[place * half + i];
          double a = q[place * size + i];
          double b = q[place * size + i + half];
          assertEquals(a * Math.cos(by) - b * Math.sin(by), result[place * size + i], 1e-5);
          assertEquals(b * Math.cos(by) + a * Math.sin(by), result[place * size + i + half], 1e-5);
        }
        for (int i = place * size + turned; i < (place + 1) * size; i++) {
          assertEquals(q[i], result[i]);
        }
      }
    }
  }

  @ParameterizedTest
  @org.junit.jupiter.params.provider.ValueSource(doubles = {0.1, 0.5, 0.05, 0.9})
  void dropoutKeepsTheMeanAndDropsItsShare(double probability) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      int count = 99_999;
      NDArray x = manager.ones(new Shape(3, count / 3));
      float[] dropped = Ops.dropout(x, probability, true).toFloatArray();
      int zeros = 0;
      double sum = 0;
      for (float value : dropped) {
        zeros += value == 0 ? 1 : 0;
        sum += value;
        assertTrue(value == 0 || Math.abs(value * (1 - probability) - 1) < 1e-3);
      }
      double deviation = Math.sqrt(probability * (1 - probability) / count);
      assertEquals(probability, (double) zeros / count, 5 * deviation + 1e-5);
      assertEquals(1, sum / count, 5 * deviation / (1 - probability) + 1e-3);
    }
  }

  @Test
  void activationsAreTheirFormulas() {
    float[] values = {-3, -1, -0.1f, 0, 0.5f, 2};
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode off = GradMode.off()) {
      NDArray x = manager.create(values);
      float[] tanh = Ops.geluTanh(x).toFloatArray();
      float[] exact = Ops.gelu(x).toFloatArray();
      float[] product = Activation.SILU.gated(x, x).toFloatArray();
      for (int i = 0; i < values.length; i++) {
        double v = values[i];
        double inner = Math.sqrt(2 / Math.PI) * (v + 0.044715 * v * v * v);
        assertEquals(0.5 * v * (1 + Math.tanh(inner)), tanh[i], 1e-6);
        assertEquals(tanh[i], exact[i], 1e-3);
        assertEquals(v * v / (1 + Math.exp(-v)), product[i], 1e-5);
      }
      // The two differ by more than rounding.
      assertEquals(-0.158655254, exact[1], 1e-7);
    }
  }
}
