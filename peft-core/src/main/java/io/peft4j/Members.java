package io.peft4j;

import io.peft4j.nn.Pass.Segment;
import io.peft4j.spi.Adapter;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** What acts by itself under the names of a set: adapters that are not made of parts, and parts. */
final class Members {
  private Members() {}

  /**
   * One of them.
   *
   * @param name as requests name it alone
   * @param adapter what acts
   * @param strength factor on its effect
   */
  record Member(String name, Adapter adapter, float strength) {}

  /** What acts under one name, given the adapters by their names. */
  static List<Member> of(String name, float strength, Function<String, Adapter> adapters) {
    AdapterName parsed = AdapterName.parse(name);
    Adapter adapter = adapters.apply(parsed.adapter());
    Map<String, Adapter> parts = adapter.parts();
    if (parts.isEmpty() && parsed.parts().isEmpty()) {
      return List.of(new Member(name, adapter, strength));
    }
    Collection<String> wanted = parsed.parts().isEmpty() ? parts.keySet() : parsed.parts();
    List<Member> members = new ArrayList<>();
    for (String part : wanted) {
      Adapter found = parts.get(part);
      if (found == null) {
        throw new AdapterStateException(
            "adapter '"
                + parsed.adapter()
                + "' has no part '"
                + part
                + "'; its parts are "
                + parts.keySet());
      }
      members.add(new Member(parsed.part(part).toString(), found, strength));
    }
    return members;
  }

  /** What acts on every row under the names of a set, in order. */
  static List<Member> of(AdapterSet set, Function<String, Adapter> adapters) {
    List<Member> members = new ArrayList<>();
    set.strengths().forEach((name, strength) -> members.addAll(of(name, strength, adapters)));
    return members;
  }

  /** What acts on a run of rows. */
  static Segment segment(long begin, long end, List<Member> members) {
    float[] strengths = new float[members.size()];
    for (int i = 0; i < strengths.length; i++) {
      strengths[i] = members.get(i).strength();
    }
    return new Segment(begin, end, members.stream().map(Member::adapter).toList(), strengths);
  }
}
