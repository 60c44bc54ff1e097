package io.peft4j.models.jinja;

/** Python's range. */
record Range(long start, long stop, long step) {
  static final int MAX_SIZE = 100_000;

  /** Sums and products of bounds and places stay within 64 bits. */
  private static final long MAX_BOUND = 1L << 60;

  static Range of(long start, long stop, long step) {
    if (step == 0) {
      throw new Failure("the step of a range must not be zero");
    }
    if (Math.max(Math.max(start, stop), step) > MAX_BOUND
        || Math.min(Math.min(start, stop), step) < -MAX_BOUND) {
      throw new Failure("a range may go from -" + MAX_BOUND + " to " + MAX_BOUND + " at most");
    }
    Range range = new Range(start, stop, step);
    double size = ((double) stop - (double) start) / step;
    if (size > MAX_SIZE) {
      throw new Failure("a range may have at most " + MAX_SIZE + " elements");
    }
    return range;
  }

  int size() {
    if (step > 0 ? start >= stop : start <= stop) {
      return 0;
    }
    // No overflow: there are at most MAX_SIZE steps between the two.
    long distance = step > 0 ? stop - start - 1 : start - stop - 1;
    return (int) (distance / Math.abs(step)) + 1;
  }

  long at(int index) {
    return start + index * step;
  }

  boolean has(long value) {
    boolean inside = step > 0 ? value >= start && value < stop : value <= start && value > stop;
    return inside && (value - start) % step == 0;
  }
}
