package io.peft4j;

import io.peft4j.nn.Backbone;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import org.jspecify.annotations.Nullable;

/**
 * What of one model is merged into its base. Guarded by the registry's monitor, within which the
 * store's may be taken.
 */
final class Merging {
  private final Backbone backbone;
  private final AdapterRegistry adapters;
  private @Nullable Merged merged;

  /** What is merged: the set as asked for, and what of it still acts beside the weights. */
  private record Merged(
      AdapterSet set, WeightStore.Replacement replacement, AdapterSet live, MergeReport report) {}

  Merging(Backbone backbone, AdapterRegistry adapters) {
    this.backbone = backbone;
    this.adapters = adapters;
  }

  /** The base's own weights, whatever is merged. */
  WeightSnapshot leaseBase() {
    synchronized (adapters) {
      return merged == null ? backbone.weights().lease() : merged.replacement().leaseBefore();
    }
  }

  AdapterSet set() {
    synchronized (adapters) {
      return merged == null ? AdapterSet.none() : merged.set();
    }
  }

  /** What of the merged set acts beside the merged weights. */
  AdapterSet live() {
    synchronized (adapters) {
      return merged == null ? AdapterSet.none() : merged.live();
    }
  }

  boolean includes(String name) {
    return set().names().contains(name);
  }

  void checkNotMerged(String name) {
    if (includes(name)) {
      throw new AdapterStateException("adapter '" + name + "' is merged: unmerge first");
    }
  }

  MergeReport merge(AdapterSet set, boolean safe) {
    return merge(set, safe ? Merger.Form.FINITE_VALUES : Merger.Form.VALUES);
  }

  MergeReport mergeAsStored(AdapterSet set) {
    AdapterSet before = set();
    if (!before.isNone()) {
      throw new AdapterStateException(
          "adapters " + before + " are merged already: unmerge before merging as stored");
    }
    return merge(set, Merger.Form.AS_STORED);
  }

  private MergeReport merge(AdapterSet set, Merger.Form form) {
    if (!set.rows().isEmpty()) {
      throw new AdapterStateException("adapters that are chosen by row cannot be merged");
    }
    // Computed outside the lock, so that requests go on meanwhile.
    LeasedAdapters held;
    WeightSnapshot weights;
    synchronized (adapters) {
      MergeReport before = mergedOrNothing(set);
      if (before != null) {
        return before;
      }
      weights = backbone.weights().lease();
      held = adapters.lease(set);
    }
    try (weights;
        held) {
      MergePlan plan = MergePlan.of(backbone.layout(), held.members());
      Segment folded = Members.segment(0, Long.MAX_VALUE, plan.folded());
      return install(set, held, plan, Merger.merge(backbone.layout(), weights, folded, form));
    }
  }

  private MergeReport install(
      AdapterSet set, LeasedAdapters held, MergePlan plan, Merger.Result result) {
    boolean installed = false;
    try {
      synchronized (adapters) {
        MergeReport before = mergedOrNothing(set);
        if (before != null) {
          return before;
        }
        if (!held.all().equals(set.names().stream().map(adapters::get).toList())) {
          throw new AdapterStateException("adapters " + set + " were replaced while being merged");
        }
        synchronized (backbone.weights()) {
          checkAlone();
          WeightStore.Replacement replacement = backbone.weights().replace(result.weights());
          MergeReport report = plan.report(result.report());
          merged = new Merged(set, replacement, plan.live(), report);
          installed = true;
          return report;
        }
      }
    } finally {
      if (!installed) {
        result.weights().values().forEach(Weight::close);
      }
    }
  }

  /** What there is to say if there is nothing to do; refuses what cannot be done. */
  private @Nullable MergeReport mergedOrNothing(AdapterSet set) {
    adapters.checkOpen();
    adapters.check(set);
    if (merged == null) {
      checkAlone();
      return set.isNone() ? MergeReport.NOTHING : null;
    }
    if (!merged.set().equals(set)) {
      throw new AdapterStateException(
          "adapters " + merged.set() + " are merged already: unmerge before merging " + set);
    }
    return merged.report();
  }

  private void checkAlone() {
    if (backbone.weights().wrappers() > 1) {
      throw new AdapterStateException(
          "another model is open over the same base: close it before merging");
    }
  }

  void unmerge() {
    synchronized (adapters) {
      if (merged != null) {
        merged.replacement().undo();
        merged = null;
      }
    }
  }

  /** Merges all of a set for good; nothing is changed if that is not possible. */
  void keep(AdapterSet set) {
    synchronized (adapters) {
      boolean mergedBefore = merged != null;
      merge(set, false);
      if (merged != null) {
        try {
          merged.report().requireAll();
          backbone.keep(merged.replacement());
        } catch (RuntimeException e) {
          if (!mergedBefore) {
            unmerge();
          }
          throw e;
        }
        merged = null;
      }
    }
  }
}
