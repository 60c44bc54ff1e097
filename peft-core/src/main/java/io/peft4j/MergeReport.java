package io.peft4j;

import java.util.List;

/**
 * What it has cost to store merged weights as the base's are stored. Errors are Frobenius norms.
 *
 * @param weights the weights that were packed again, in model order
 */
public record MergeReport(List<MergedWeight> weights) {

  /**
   * Copies the list.
   *
   * @param weights the weights that were packed again, in model order
   */
  public MergeReport {
    weights = List.copyOf(weights);
  }

  /**
   * A weight that was packed again.
   *
   * @param name the parameter's name
   * @param effect by how much the adapters changed the weight: ‖W' − W‖
   * @param error by how much packing missed what the adapters made of it: ‖packed(W') − W'‖
   */
  public record MergedWeight(String name, double effect, double error) {}

  /**
   * By how much the adapters changed all these weights together.
   *
   * @return the root of the sum of the squared effects; 0 if there are no weights
   */
  public double effect() {
    return Math.sqrt(weights.stream().mapToDouble(w -> w.effect() * w.effect()).sum());
  }

  /**
   * By how much packing missed what the adapters made of all these weights together.
   *
   * @return the root of the sum of the squared errors; 0 if there are no weights
   */
  public double error() {
    return Math.sqrt(weights.stream().mapToDouble(w -> w.error() * w.error()).sum());
  }
}
