package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.TrainableParameter;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Sees to it that training reaches what it is to change. Before the first update in which its
 * adapter acts every parameter must have been written a gradient; a gradient of zeros is right
 * then, as that of LoRA's A is while B is 0. By the second such update with a rate above 0 every
 * parameter must have had a gradient that is not zero, which is what makes an optimizer move it.
 * Where rows name adapters, each must have acted once by the end of the first epoch.
 */
final class ReachCheck {
  /** With a B that starts at 0 it takes one update until A gets a gradient that is not 0. */
  private static final int UPDATES = 2;

  private static final int NAMED = 8;

  private final List<TrainableParameter> parameters;
  private final boolean[] connected;
  private final boolean[] moved;
  private final int[] updates;
  private long[] before;

  /** Right after the gradients were zeroed and before the first step. */
  ReachCheck(List<TrainableParameter> parameters) {
    this.parameters = parameters;
    before = versions(parameters);
    connected = new boolean[parameters.size()];
    moved = new boolean[parameters.size()];
    updates = new int[parameters.size()];
  }

  /** Whether there is nothing left to check. */
  boolean done() {
    return Arrays.stream(updates).allMatch(count -> count == UPDATES);
  }

  /**
   * Before an update.
   *
   * @param rate the rate that it is made with
   * @param adapters those that acted, or null for all
   */
  void beforeUpdate(double rate, @Nullable Set<String> adapters) {
    IntPredicate acts = i -> adapters == null || adapters.contains(parameters.get(i).adapter());
    if (all().anyMatch(i -> acts.test(i) && !connected[i])) {
      long[] now = versions(parameters);
      refuse(
          i -> acts.test(i) && !connected[i] && now[i] == before[i],
          "are not connected to the loss: no gradient came to them");
      all().filter(acts).forEach(i -> connected[i] = true);
    }
    if (rate > 0) {
      float[] norms = Gradients.norms(parameters);
      all()
          .filter(i -> acts.test(i) && updates[i] < UPDATES)
          .forEach(
              i -> {
                moved[i] |= norms[i] != 0;
                updates[i]++;
              });
      refuse(
          i -> updates[i] == UPDATES && !moved[i],
          "did not move: their gradients were 0 in both of the first updates");
    }
  }

  /** After an update, when gradients have been zeroed. */
  void afterUpdate() {
    if (all().anyMatch(i -> !connected[i])) {
      before = versions(parameters);
    }
  }

  /** At the end of an epoch, in which every row has been trained. */
  void epochEnded() {
    refuse(i -> !connected[i], "belong to adapters that no row of the data names");
  }

  private IntStream all() {
    return IntStream.range(0, parameters.size());
  }

  private void refuse(IntPredicate wrong, String what) {
    List<String> names =
        all().filter(wrong).mapToObj(i -> Parameters.key(parameters.get(i))).toList();
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
