package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.TrainableParameter;
import java.util.List;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * Sees to it that training reaches what it is to change. Before the first update every parameter
 * must have been written a gradient; a gradient of zeros is right then, as that of LoRA's A is
 * while B is 0. By the second update with a rate above 0 every parameter must have had a gradient
 * that is not zero, which is what makes an optimizer move it.
 */
final class ReachCheck {
  /** With a B that starts at 0 it takes one update until A gets a gradient that is not 0. */
  private static final int UPDATES = 2;

  private static final int NAMED = 8;

  private final List<TrainableParameter> parameters;
  private final long[] before;
  private final boolean[] moved;
  private boolean connected;
  private int updates;

  /** Right after the gradients were zeroed and before the first step. */
  ReachCheck(List<TrainableParameter> parameters) {
    this.parameters = parameters;
    this.before = versions(parameters);
    this.moved = new boolean[parameters.size()];
  }

  /** Whether there is nothing left to check. */
  boolean done() {
    return updates == UPDATES;
  }

  /** Before an update, given the rate that it is made with. */
  void beforeUpdate(double rate) {
    if (!connected) {
      long[] now = versions(parameters);
      refuse(i -> now[i] == before[i], "are not connected to the loss: no gradient came to them");
      connected = true;
    }
    if (rate > 0) {
      float[] norms = Gradients.norms(parameters);
      for (int i = 0; i < norms.length; i++) {
        moved[i] |= norms[i] != 0;
      }
      updates++;
      if (done()) {
        refuse(i -> !moved[i], "did not move: their gradients were 0 in both of the first updates");
      }
    }
  }

  private void refuse(IntPredicate wrong, String what) {
    List<String> names =
        IntStream.range(0, parameters.size())
            .filter(wrong)
            .mapToObj(i -> Parameters.key(parameters.get(i)))
            .toList();
    if (!names.isEmpty()) {
      throw new AdapterStateException(
          names.size()
              + " of "
              + parameters.size()
              + " tensors that are to be trained "
              + what
              + " (is each trained adapter active, and each of its layers used?): "
              + String.join(", ", names.subList(0, Math.min(NAMED, names.size())))
              + (names.size() > NAMED ? ", ..." : ""));
    }
  }

  private static long[] versions(List<TrainableParameter> parameters) {
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      long[] versions = new long[parameters.size()];
      for (int i = 0; i < versions.length; i++) {
        NDArray gradient = Gradients.of(parameters.get(i).array());
        versions[i] = gradient == null ? -1 : ForEach.versions(List.of(gradient))[0];
      }
      return versions;
    }
  }
}
