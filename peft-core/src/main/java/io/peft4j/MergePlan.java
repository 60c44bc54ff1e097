package io.peft4j;

import ai.djl.ndarray.NDScope;
import io.peft4j.Members.Member;
import io.peft4j.nn.LayerAdapter;
import io.peft4j.spi.Adapter;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Which of the adapters that act together are folded into the weights, and which stay as they are.
 * What stays at a layer keeps all others there too, because effects at one layer may depend on what
 * acted before them.
 */
final class MergePlan {
  private final ModelLayout layout;
  private final List<Member> members;
  private final List<Member> folded;
  private final Map<Member, String> live = new LinkedHashMap<>();

  private MergePlan(ModelLayout layout, List<Member> members) {
    this.layout = layout;
    this.members = members;
    folded = new ArrayList<>(members);
    for (Member member : members) {
      String reason = notMergeable(member.adapter());
      if (reason != null) {
        keep(member, reason);
      }
    }
    while (keepBesideLive()) {
      continue;
    }
  }

  /** Decides; something of what acts must be mergeable. */
  static MergePlan of(ModelLayout layout, List<Member> members) {
    MergePlan plan = new MergePlan(layout, members);
    if (plan.folded.isEmpty() && !members.isEmpty()) {
      throw new AdapterStateException(plan.live.values().iterator().next());
    }
    return plan;
  }

  List<Member> folded() {
    return folded;
  }

  AdapterSet live() {
    AdapterSet set = AdapterSet.none();
    // In the order in which all act: effects at one layer follow each other.
    for (Member member : members) {
      set = live.containsKey(member) ? set.and(member.name(), member.strength()) : set;
    }
    return set;
  }

  MergeReport report(List<MergeReport.MergedWeight> packed) {
    Map<String, String> reasons = new LinkedHashMap<>();
    live.forEach((member, reason) -> reasons.put(member.name(), reason));
    return new MergeReport(folded.stream().map(Member::name).toList(), reasons, packed);
  }

  private void keep(Member member, String reason) {
    folded.remove(member);
    live.put(member, reason);
  }

  private boolean keepBesideLive() {
    for (Member member : folded) {
      for (Member other : live.keySet()) {
        for (LayerSpec layer : layout.layers()) {
          if (member.adapter().layer(layer.slot()) != null && touches(other.adapter(), layer)) {
            keep(member, layer.path() + " cannot be merged without '" + other.name() + "'");
            return true;
          }
        }
      }
    }
    return false;
  }

  /** Whether an adapter acts at a layer, or brings a copy of its weight or bias. */
  private boolean touches(Adapter adapter, LayerSpec layer) {
    return adapter.layer(layer.slot()) != null
        || adapter.override(layout.parameterIndex(layer.weightName())) != null
        || (layer.bias() && adapter.override(layout.parameterIndex(layer.biasName())) != null);
  }

  private @Nullable String notMergeable(Adapter adapter) {
    if (!adapter.joinPaths().isEmpty()) {
      return String.join(", ", adapter.joinPaths())
          + " cannot be merged: what acts between a sub-layer and its residual is not linear and"
          + " fits into no weight";
    }
    for (LayerSpec layer : layout.layers()) {
      LayerAdapter effect = adapter.layer(layer.slot());
      String reason = effect == null ? null : effect.notMergeable();
      if (reason == null && effect != null && !layer.bias()) {
        reason = biasReason(effect);
      }
      if (reason != null) {
        return layer.path() + " cannot be merged: " + reason;
      }
    }
    return null;
  }

  private static @Nullable String biasReason(LayerAdapter adapter) {
    try (NDScope scope = new NDScope();
        GradMode off = GradMode.off()) {
      return adapter.mergedBias(null, 1) == null
          ? null
          : "the adapter has a bias and the layer has none to add it to";
    }
  }
}
