package io.peft4j.state;

/** Evenly spaced float32 numbers as the engine computes them. */
public final class Spaced {
  private Spaced() {}

  /**
   * One of them: counted from the nearer end, product and sum rounded once.
   *
   * @param first the first
   * @param last the last
   * @param count how many there are, ends included
   * @param index which one
   * @return the number
   */
  public static float at(float first, float last, int count, int index) {
    float step = (last - first) / (count - 1);
    return index < count / 2
        ? Math.fma(step, index, first)
        : Math.fma(-step, count - 1 - index, last);
  }
}
