package io.peft4j.train;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Adam with decoupled weight decay: {@code torch.optim.AdamW} with its defaults, operation by
 * operation. With rate η, decay λ and gradient g, step t of a parameter p is
 *
 * <pre>{@code
 * p <- p - η·λ·p
 * m <- m + (1 - β1)·(g - m)          v <- β2·v + (1 - β2)·g²
 * p <- p - η/(1 - β1^t) · m / (sqrt(v)/sqrt(1 - β2^t) + ε)
 * }</pre>
 *
 * <p>t counts the updates of that parameter: one whose gradient is absent in a step is left alone,
 * decay included, as torch leaves alone what has no gradient.
 *
 * <p>State keys are {@code exp_avg.}, {@code exp_avg_sq.} and {@code step.} (torch's names), then
 * adapter name and state key of the parameter, joined by a dot. The moments are float32 and shaped
 * as the parameter, the step is a float32 scalar. Moments of 8 bits are uint8 of that shape, with
 * float32 {@code exp_avg_absmax.} and {@code exp_avg_sq_absmax.} for their blocks.
 *
 * <p>For the use of one thread. The caller closes it, which frees the state.
 */
public final class AdamW implements Optimizer {
  private static final String STEP = "step.";

  private final OptimizerSettings settings;
  private final List<Group> groups = new ArrayList<>();
  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final MomentMemory memory;
  private final NDManager manager;

  private record Group(double learningRateFactor, double weightDecay, List<Slot> slots) {}

  /** One parameter and its state. */
  private static final class Slot {
    final NDArray parameter;

    /** The parameter's memory without its name and without autograd. */
    final NDArray value;

    final MomentState moments;

    long step;

    /** The gradient's version when it was last zeroed. */
    long zeroed = -1;

    Slot(NDArray parameter, NDArray value, MomentState moments) {
      this.parameter = parameter;
      this.value = value;
      this.moments = moments;
    }
  }

  /** A parameter of which the gradient is there. */
  private record Present(Slot slot, NDArray gradient) {}

  /**
   * Makes an optimizer whose state is empty. Gradients that the parameters hold are forgotten.
   *
   * @param groups the parameters; each in one group only
   * @param settings betas and epsilon; the rest is the groups' and the trainer's
   * @throws InvalidConfigException if there are no parameters, or one is not float32, records no
   *     gradients or is given twice
   */
  public AdamW(List<ParameterGroup> groups, OptimizerSettings settings) {
    this(groups, settings, OptimizerStorage.plain());
  }

  /**
   * Makes an optimizer that holds its state in another way. Gradients that the parameters hold are
   * forgotten.
   *
   * @param groups the parameters; each in one group only
   * @param settings betas and epsilon; the rest is the groups' and the trainer's
   * @param storage bits and place of the moments
   * @throws InvalidConfigException if there are no parameters, or one is not float32, records no
   *     gradients or is given twice, or the parameters are not on the host and the storage is not
   *     plain
   * @throws io.peft4j.PeftException if there is no room for the file of a paged state
   */
  public AdamW(List<ParameterGroup> groups, OptimizerSettings settings, OptimizerStorage storage) {
    this.settings = settings;
    List<TrainableParameter> all =
        groups.stream().flatMap(group -> group.parameters().stream()).toList();
    check(all);
    Device device = all.get(0).array().getDevice();
    if (!storage.equals(OptimizerStorage.plain()) && !device.equals(Device.cpu())) {
      throw new InvalidConfigException(
          "an optimizer's state is paged or of 8 bits on the host only; parameters are on "
              + device);
    }
    this.memory = new MomentMemory(storage);
    this.manager = NDManager.newBaseManager(device, "PyTorch");
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (ParameterGroup group : groups) {
        List<Slot> members = new ArrayList<>();
        for (TrainableParameter parameter : group.parameters()) {
          NDArray value = keep(parameter.array().stopGradient(), manager);
          Slot slot =
              new Slot(parameter.array(), value, MomentState.of(storage, memory, manager, value));
          members.add(slot);
          slots.put(Parameters.key(parameter), slot);
        }
        this.groups.add(new Group(group.learningRateFactor(), group.weightDecay(), members));
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
    zeroGradients();
  }

  private static void check(List<TrainableParameter> parameters) {
    if (parameters.isEmpty()) {
      throw new InvalidConfigException("there is nothing to train: no adapter is trained");
    }
    Map<String, NDArray> seen = new LinkedHashMap<>();
    for (TrainableParameter parameter : parameters) {
      String key = Parameters.key(parameter);
      if (parameter.array().getDataType() != DataType.FLOAT32) {
        throw new InvalidConfigException(
            key + " is " + parameter.array().getDataType() + ": only float32 is trained");
      }
      if (!parameter.array().hasGradient()) {
        throw new InvalidConfigException(
            key + " records no gradients: call setRequiresGradient(true)");
      }
      if (seen.put(key, parameter.array()) != null) {
        throw new InvalidConfigException(key + " is given twice");
      }
    }
  }

  @Override
  public void step(double learningRate) {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        NDManager scratch = manager.newSubManager()) {
      scope.suppressNotUsedWarning();
      for (Group group : groups) {
        Map<Long, List<Present>> byStep = new TreeMap<>();
        for (Present present : present(group.slots)) {
          byStep.computeIfAbsent(present.slot.step + 1, step -> new ArrayList<>()).add(present);
        }
        byStep.forEach((step, members) -> update(group, learningRate, step, members, scratch));
      }
    }
  }

  private void update(
      Group group, double learningRate, long step, List<Present> members, NDManager scratch) {
    ForEach.AdamWStep update =
        new ForEach.AdamWStep(
            learningRate * group.learningRateFactor,
            settings.beta1(),
            settings.beta2(),
            settings.epsilon(),
            group.weightDecay,
            step);
    List<Present> wide = new ArrayList<>();
    for (Present member : members) {
      if (!member.slot.moments.update(update, member.slot.value, member.gradient)) {
        wide.add(member);
      }
    }
    if (!wide.isEmpty()) {
      ForEach.adamW(
          update,
          wide.stream().map(member -> member.slot.value).toList(),
          wide.stream().map(Present::gradient).toList(),
          wide.stream().map(member -> member.slot.moments.first()).toList(),
          wide.stream().map(member -> member.slot.moments.second()).toList(),
          scratch);
    }
    members.forEach(member -> member.slot.step = step);
  }

  /**
   * The engine cannot take a gradient away once there is one, only zero it. One that nobody has
   * written to since is as good as none.
   */
  private static List<Present> present(List<Slot> slots) {
    List<Present> held = held(slots);
    long[] versions = ForEach.versions(held.stream().map(Present::gradient).toList());
    List<Present> present = new ArrayList<>();
    for (int i = 0; i < versions.length; i++) {
      if (versions[i] != held.get(i).slot.zeroed) {
        present.add(held.get(i));
      }
    }
    return present;
  }

  private static List<Present> held(Iterable<Slot> slots) {
    List<Present> held = new ArrayList<>();
    for (Slot slot : slots) {
      NDArray gradient = Gradients.of(slot.parameter);
      if (gradient != null) {
        held.add(new Present(slot, gradient));
      }
    }
    return held;
  }

  @Override
  public void zeroGradients() {
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<Present> held = held(slots.values());
      List<NDArray> gradients = held.stream().map(Present::gradient).toList();
      ForEach.zero(gradients);
      long[] versions = ForEach.versions(gradients);
      for (int i = 0; i < versions.length; i++) {
        held.get(i).slot.zeroed = versions[i];
      }
    }
  }

  @Override
  public SortedMap<String, NDArray> state(NDManager owner) {
    SortedMap<String, NDArray> state = new TreeMap<>();
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      slots.forEach(
          (key, slot) -> {
            if (slot.step > 0) {
              slot.moments
                  .arrays()
                  .forEach((name, array) -> state.put(name + key, keep(array.duplicate(), owner)));
              state.put(STEP + key, keep(manager.create((float) slot.step), owner));
            }
          });
    }
    return state;
  }

  @Override
  public void loadState(Map<String, NDArray> state) {
    Map<Slot, String> loaded = new LinkedHashMap<>();
    int needed = 0;
    for (String name : state.keySet()) {
      Slot slot = name.startsWith(STEP) ? slots.get(name.substring(STEP.length())) : null;
      if (slot != null) {
        loaded.put(slot, name.substring(STEP.length()));
        needed += slot.moments.arrays().size() + 1;
      } else if (!name.startsWith(MomentState.PREFIX)) {
        throw new AdapterStateException("optimizer state '" + name + "' is of no parameter here");
      }
    }
    if (state.size() != needed) {
      throw new AdapterStateException(
          "optimizer state has "
              + state.size()
              + " entries for "
              + loaded.size()
              + " parameters of this model, "
              + needed
              + " are needed: 3 for each, 5 where moments have 8 bits");
    }
    loaded.forEach((slot, key) -> slot.moments.check(state, key));
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (Slot slot : slots.values()) {
        String key = loaded.get(slot);
        slot.moments.load(state, key);
        slot.step = key == null ? 0 : (long) MomentState.entry(state, STEP + key).getFloat();
      }
    }
  }

  static NDArray keep(NDArray array, NDManager owner) {
    array.attach(owner);
    NDScope.unregister(array);
    return array;
  }

  @Override
  public void close() {
    manager.close();
    memory.close();
  }
}
