package io.peft4j;

import io.peft4j.nn.Backbone;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What of one model is merged into its base. Guarded by the registry's monitor, within which the
 * store's may be taken.
 */
final class Merging {
  private final Backbone backbone;
  private final AdapterRegistry adapters;
  private @Nullable Merged merged;

  private record Merged(AdapterSet set, WeightStore.Replacement replacement) {}

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

  boolean includes(String name) {
    return set().names().contains(name);
  }

  void checkNotMerged(String name) {
    if (includes(name)) {
      throw new AdapterStateException("adapter '" + name + "' is merged: unmerge first");
    }
  }

  void merge(AdapterSet set, boolean safe) {
    merge(set, safe ? Merger.Form.FINITE_VALUES : Merger.Form.VALUES);
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
      if (isMergedOrNothing(set)) {
        return new MergeReport(List.of());
      }
      weights = backbone.weights().lease();
      held = adapters.lease(set);
    }
    try (weights;
        held) {
      Merger.Result result = Merger.merge(backbone.layout(), weights, held.segment(), form);
      install(set, held, result.weights());
      return result.report();
    }
  }

  private void install(AdapterSet set, LeasedAdapters held, Map<Integer, Weight> result) {
    boolean installed = false;
    try {
      synchronized (adapters) {
        if (isMergedOrNothing(set)) {
          return;
        }
        if (!held.all().equals(set.names().stream().map(adapters::get).toList())) {
          throw new AdapterStateException("adapters " + set + " were replaced while being merged");
        }
        synchronized (backbone.weights()) {
          checkAlone();
          merged = new Merged(set, backbone.weights().replace(result));
        }
        installed = true;
      }
    } finally {
      if (!installed) {
        result.values().forEach(Weight::close);
      }
    }
  }

  /** Whether there is nothing to do; refuses what cannot be done. */
  private boolean isMergedOrNothing(AdapterSet set) {
    adapters.checkOpen();
    adapters.check(set);
    if (merged == null) {
      checkAlone();
      return set.isNone();
    }
    if (!merged.set().equals(set)) {
      throw new AdapterStateException(
          "adapters " + merged.set() + " are merged already: unmerge before merging " + set);
    }
    return true;
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

  /** Merges for good; nothing is changed if that is not possible. */
  void keep(AdapterSet set) {
    synchronized (adapters) {
      boolean mergedBefore = merged != null;
      merge(set, false);
      if (merged != null) {
        try {
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
