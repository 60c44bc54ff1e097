package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDScope;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.TrainingOptions;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Scopes;
import java.util.List;
import java.util.OptionalDouble;

/** Computes with one model's base and the adapters that a source has for a set. */
final class Passes {
  private final Backbone backbone;
  private final AdapterRegistry model;
  private final Merging merging;
  private final AdapterSource source;

  Passes(Backbone backbone, AdapterRegistry model, Merging merging) {
    this(backbone, model, merging, model);
  }

  private Passes(Backbone backbone, AdapterRegistry model, Merging merging, AdapterSource source) {
    this.backbone = backbone;
    this.model = model;
    this.merging = merging;
    this.source = source;
  }

  /** The same with adapters from elsewhere. */
  Passes from(AdapterSource other) {
    return new Passes(backbone, model, merging, other);
  }

  Backbone backbone() {
    return backbone;
  }

  PeftView view(AdapterSet set) {
    source.check(set);
    return new PeftView(this, set);
  }

  NDList forward(NDList inputs, AdapterSet set, ForwardMode mode) {
    // Inputs without rows are for the network to refuse, which knows what it takes.
    boolean hasRows = !inputs.isEmpty() && !inputs.head().isScalar();
    long batch = hasRows ? inputs.head().getShape().get(0) : set.rows().size();
    try (PassLease lease = lease(batch, 1, set, mode, TrainingOptions.PLAIN);
        GradMode grad = GradMode.set(mode.gradients())) {
      return Scopes.outputs(
          inputs, () -> lease.restore(backbone.forward(lease.pass(), lease.order(inputs))));
    }
  }

  double accumulateGradients(
      NDList inputs,
      AdapterSet set,
      Objective objective,
      ForwardMode mode,
      TrainingOptions options,
      double weight) {
    if (!mode.gradients()) {
      throw new InvalidConfigException("gradients need a training mode, given was " + mode);
    }
    try (NDScope scope = new NDScope();
        PassLease lease = lease(inputs.head().getShape().get(0), 1, set, mode, options);
        GradMode on = GradMode.on()) {
      scope.suppressNotUsedWarning();
      if (lease.pass().weights().isPacked()) {
        // A recorded product keeps what it has unpacked: all layers together are the dense base.
        lease.pass().recomputeLayers();
      }
      NextTokens tokens = objective.nextTokens();
      if (tokens != null) {
        NDArray labels = lease.order(new NDList(tokens.labels())).head();
        OptionalDouble found =
            backbone.accumulateGradients(
                lease.pass(),
                lease.order(inputs),
                new NextTokens(labels, tokens.smoothing()),
                weight);
        if (found.isPresent()) {
          return found.getAsDouble();
        }
      }
      NDArray loss =
          objective.compute(lease.restore(backbone.forward(lease.pass(), lease.order(inputs))));
      double value = Objective.backward(loss, weight);
      lease.pass().backward();
      return value;
    }
  }

  PassLease lease(long batch, int copies, AdapterSet set) {
    return lease(batch, copies, set, ForwardMode.INFERENCE, TrainingOptions.PLAIN);
  }

  private PassLease lease(
      long batch, int copies, AdapterSet set, ForwardMode mode, TrainingOptions options) {
    if (!set.rows().isEmpty() && set.rows().size() != batch) {
      throw new AdapterStateException(
          "an adapter is named for "
              + set.rows().size()
              + " rows, but the batch has "
              + batch
              + " rows");
    }
    if (source != model) {
      // May load what is missing, which must keep no other request waiting.
      LeasedAdapters adapters = source.lease(set);
      try {
        model.checkOpen();
      } catch (RuntimeException e) {
        adapters.close();
        throw e;
      }
      return pass(set, copies, adapters, merging.leaseBase(), mode, options);
    }
    synchronized (model) {
      model.checkOpen();
      model.check(set);
      boolean asMerged = !set.isNone() && merging.set().equals(set);
      if (asMerged && mode.gradients()) {
        throw new AdapterStateException("adapters " + set + " are merged: unmerge before training");
      }
      AdapterSet acting = asMerged ? merging.live() : set;
      LeasedAdapters adapters = model.lease(acting);
      WeightSnapshot weights = asMerged ? backbone.weights().lease() : merging.leaseBase();
      return pass(acting, copies, adapters, weights, mode, options);
    }
  }

  /** Takes over both leases, also if it fails. */
  private static PassLease pass(
      AdapterSet set,
      int copies,
      LeasedAdapters adapters,
      WeightSnapshot weights,
      ForwardMode mode,
      TrainingOptions options) {
    try {
      RowOrder rows = set.rows().isEmpty() ? null : new RowOrder(set.rows(), copies, adapters);
      List<Segment> segments = rows == null ? List.of(adapters.segment()) : rows.segments();
      return new AdaptedPass(new Pass(weights, segments, mode.dropout(), options), adapters, rows);
    } catch (RuntimeException | Error e) {
      adapters.close();
      weights.close();
      throw e;
    }
  }
}
