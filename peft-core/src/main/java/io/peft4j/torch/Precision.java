package io.peft4j.torch;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.util.Locale;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What products of activations with frozen weights are computed in. It is a choice of its own: how
 * weights are stored, what layers hand to one another and what adapters are trained in is float32
 * either way.
 */
public enum Precision {
  /** 24 significant bits: what everything is checked against. */
  FLOAT32,
  /**
   * Factors rounded to 8 significant bits and sums kept in float32, as under PyTorch's autocast.
   * Several times as fast on CPUs that have instructions for it (AVX-512 BF16, AMX), up to a
   * hundred times slower on the others.
   */
  BFLOAT16;

  private static final Logger LOG = LoggerFactory.getLogger(Precision.class);

  /** How much faster bfloat16 must be to be worth its rounding. */
  private static final double NEEDED_GAIN = 1.2;

  private static final int ROWS = 256;
  private static final int FEATURES = 640;
  private static final int LEAST_REPETITIONS = 4;
  private static final int MOST_REPETITIONS = 40;

  /** After so long, in seconds, the fewest repetitions must do. */
  private static final double ENOUGH_TIME = 0.15;

  /** What is so much slower the first time is not tried again. */
  private static final double HOPELESS = 16;

  /**
   * What is fastest on this machine's CPU: measured when it is first asked for, in some tenths of a
   * second.
   *
   * @return {@link #BFLOAT16} if it is faster by a fifth or more, else {@link #FLOAT32}
   */
  public static Precision fastest() {
    return Measured.FASTEST;
  }

  /** Holds the measurement's result. */
  private static final class Measured {
    private static final Precision FASTEST = measure();
  }

  private static Precision chosen(double wide, double narrow) {
    Precision chosen = wide > NEEDED_GAIN * narrow ? BFLOAT16 : FLOAT32;
    LOG.info(
        "products are computed in {}: {} x {} x {} takes {} µs in float32, {} µs in bfloat16",
        chosen.name().toLowerCase(Locale.ROOT),
        ROWS,
        FEATURES,
        FEATURES,
        Math.round(wide * 1e6),
        Math.round(narrow * 1e6));
    return chosen;
  }

  private static Precision measure() {
    // The manager first: it loads the engine.
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      NDArray x = manager.ones(new Shape(ROWS, FEATURES), DataType.FLOAT32);
      NDArray weight = manager.ones(new Shape(FEATURES, FEATURES), DataType.FLOAT32);
      NDArray half = Ops.toBfloat16(weight);
      double wide = Double.POSITIVE_INFINITY;
      double narrow = Double.POSITIVE_INFINITY;
      // In turns, and the fastest counts: what else the machine does only slows some of them.
      double spent = 0;
      for (int i = 0; i < MOST_REPETITIONS && (i < LEAST_REPETITIONS || spent < ENOUGH_TIME); i++) {
        double first = seconds(() -> Ops.linear(x, weight, null));
        double second = seconds(() -> Ops.linearBfloat16(x, half, null));
        wide = Math.min(wide, first);
        narrow = Math.min(narrow, second);
        spent += first + second;
        if (i > 0 && narrow > HOPELESS * wide) {
          break;
        }
      }
      return chosen(wide, narrow);
    }
  }

  private static double seconds(Supplier<NDArray> product) {
    long begin = System.nanoTime();
    product.get().close();
    return (System.nanoTime() - begin) / 1e9;
  }
}
