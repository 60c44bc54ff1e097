package io.peft4j.hybrid.experts;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.ForwardMode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * Several adapters, hybrids, or parts of hybrids over one base as an ensemble: the output of a row
 * is the sum of what its experts give, each times a weight. For logits that is a mixture of experts
 * on the level of the answer.
 *
 * <pre>{@code
 * Experts experts = Experts.of(model, "law", "medicine/task", "__base__");
 * NDList logits = experts.forward(inputs, (batch, names) -> weightsOfMyRouter(batch));
 * }</pre>
 *
 * <p>All experts of all rows are computed in one pass, in which a row stands as often as it has
 * experts and the base's part is one product for all of them. A row with one expert of weight 1
 * costs what it costs without an ensemble.
 *
 * <p>A value that holds nothing to close, for use by any number of threads. The model stays the
 * caller's.
 */
public final class Experts {
  private final PeftModel model;
  private final List<String> names;

  private Experts(PeftModel model, List<String> names) {
    this.model = model;
    this.names = names;
  }

  /**
   * An ensemble.
   *
   * @param model the model
   * @param names its adapters, or parts of them; {@link AdapterSet#BASE} for the base alone; at
   *     least one, each once
   * @return the ensemble
   * @throws InvalidConfigException if no name is given, or one twice
   * @throws AdapterStateException if there is no such adapter
   */
  public static Experts of(PeftModel model, String... names) {
    List<String> all = List.of(names);
    if (all.stream().distinct().count() < all.size()) {
      throw new InvalidConfigException("an expert is named twice in " + all);
    }
    model.with(AdapterSet.rows(all));
    return new Experts(model, all);
  }

  /**
   * The experts.
   *
   * @return their names, in the order of weights
   */
  public List<String> names() {
    return names;
  }

  /**
   * The model.
   *
   * @return what {@link #of} was given
   */
  public PeftModel model() {
    return model;
  }

  /**
   * Computes with weights of the caller's.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param router gives the weights
   * @return the weighted outputs, which belong to the manager of the first input and to the
   *     caller's scope, if one is open
   * @throws InvalidConfigException if the weights are not as {@link Router#weights} says
   */
  public NDList forward(NDList inputs, Router router) {
    return forward(inputs, router.weights(inputs, names), ForwardMode.INFERENCE);
  }

  /**
   * Computes with weights of the caller's.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param weights for each row a weight for each expert
   * @param mode what the pass is for
   * @return the weighted outputs, which belong to the manager of the first input and to the
   *     caller's scope, if one is open
   * @throws InvalidConfigException if the weights are not as {@link Router#weights} says
   */
  public NDList forward(NDList inputs, float[][] weights, ForwardMode mode) {
    int batch = batch(inputs);
    check(weights, batch);
    List<Integer> rows = new ArrayList<>();
    List<String> chosen = new ArrayList<>();
    for (int row = 0; row < batch; row++) {
      for (int expert = 0; expert < names.size(); expert++) {
        if (weights[row][expert] != 0) {
          rows.add(row);
          chosen.add(names.get(expert));
        }
      }
    }
    float[] sums = new float[batch * rows.size()];
    for (int i = 0; i < rows.size(); i++) {
      int row = rows.get(i);
      sums[row * rows.size() + i] = weights[row][names.indexOf(chosen.get(i))];
    }
    try (GradMode grad = GradMode.set(mode.gradients())) {
      return Scopes.outputs(
          inputs,
          () -> {
            NDList outputs = compute(inputs, rows, chosen, mode);
            NDManager manager = inputs.head().getManager();
            NDArray mix = Ops.engineOwned(manager.create(sums, new Shape(batch, rows.size())));
            NDList mixed = new NDList();
            for (NDArray output : outputs) {
              NDArray flat = output.reshape(rows.size(), -1);
              mixed.add(named(mix.matMul(flat).reshape(shape(batch, output)), output));
            }
            return mixed;
          });
    }
  }

  /**
   * Computes with the weights of a gate, through which gradients flow in a training mode.
   *
   * @param inputs the network's inputs, the first dimension of each the batch; they stay the
   *     caller's
   * @param gate a gate of these experts
   * @param mode what the pass is for
   * @return the weighted outputs, which belong to the manager of the first input and to the
   *     caller's scope, if one is open
   */
  public NDList forward(NDList inputs, Gate gate, ForwardMode mode) {
    if (gate.experts() != names.size()) {
      throw new InvalidConfigException(
          "the gate is for " + gate.experts() + " experts; there are " + names.size());
    }
    int batch = batch(inputs);
    List<Integer> rows = new ArrayList<>();
    List<String> chosen = new ArrayList<>();
    for (int row = 0; row < batch; row++) {
      rows.addAll(Collections.nCopies(names.size(), row));
      chosen.addAll(names);
    }
    try (GradMode grad = GradMode.set(mode.gradients())) {
      return Scopes.outputs(
          inputs,
          () -> {
            NDArray shares = gate.shares(inputs).expandDims(2);
            NDList mixed = new NDList();
            for (NDArray output : compute(inputs, rows, chosen, mode)) {
              NDArray byExpert = output.reshape(batch, names.size(), -1);
              NDArray sum = byExpert.mul(shares).sum(new int[] {1});
              mixed.add(named(sum.reshape(shape(batch, output)), output));
            }
            return mixed;
          });
    }
  }

  private NDList compute(NDList inputs, List<Integer> rows, List<String> chosen, ForwardMode mode) {
    NDList repeated = new NDList();
    NDManager manager = inputs.head().getManager();
    long[] places = rows.stream().mapToLong(Integer::longValue).toArray();
    NDArray index = Ops.engineOwned(manager.create(places));
    for (NDArray input : inputs) {
      repeated.add(named(input.get(index), input));
    }
    return model.with(AdapterSet.rows(chosen)).forward(repeated, mode);
  }

  private static NDArray named(NDArray array, NDArray like) {
    array.setName(like.getName());
    return array;
  }

  private static Shape shape(int batch, NDArray output) {
    long[] dimensions = output.getShape().getShape().clone();
    dimensions[0] = batch;
    return new Shape(dimensions);
  }

  private static int batch(NDList inputs) {
    if (inputs.isEmpty() || inputs.head().isScalar()) {
      throw new InvalidConfigException("inputs with at least one row are needed");
    }
    return Math.toIntExact(inputs.head().getShape().get(0));
  }

  private void check(float[][] weights, int batch) {
    if (weights.length != batch) {
      throw new InvalidConfigException(
          "weights are needed for " + batch + " rows; given were " + weights.length);
    }
    for (int row = 0; row < batch; row++) {
      boolean any = false;
      boolean finite = weights[row].length == names.size();
      for (float weight : weights[row]) {
        any |= weight != 0;
        finite &= Float.isFinite(weight);
      }
      if (!any || !finite) {
        throw new InvalidConfigException(
            "a row needs "
                + names.size()
                + " finite weights that are not all 0, one for each of "
                + names
                + "; row "
                + row
                + " has "
                + Arrays.toString(weights[row]));
      }
    }
  }
}
