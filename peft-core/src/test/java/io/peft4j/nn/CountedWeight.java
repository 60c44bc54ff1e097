package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.types.Shape;

/** A weight that holds nothing and counts how often it is closed. */
final class CountedWeight implements Weight {
  private final Shape shape;
  private int closed;

  CountedWeight(Shape shape) {
    this.shape = shape;
  }

  int closed() {
    return closed;
  }

  @Override
  public Shape shape() {
    return shape;
  }

  @Override
  public NDArray dense() {
    throw new UnsupportedOperationException();
  }

  @Override
  public NDArray linear(NDArray x, NDArray bias) {
    throw new UnsupportedOperationException();
  }

  @Override
  public NDArray rows(NDArray ids) {
    throw new UnsupportedOperationException();
  }

  @Override
  public long bytes() {
    return 0;
  }

  @Override
  public void close() {
    closed++;
  }
}
