package io.peft4j;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How a request names what acts: an adapter whole ({@code mix}), or some parts of one that is made
 * of parts ({@code mix/style}, {@code mix/style+facts}).
 *
 * @param adapter the adapter's name
 * @param parts the parts; empty for all of them
 */
record AdapterName(String adapter, List<String> parts) {

  static AdapterName parse(String text) {
    int slash = text.indexOf('/');
    if (slash < 0) {
      return new AdapterName(AdapterSet.checkName(text), List.of());
    }
    AdapterSet.checkName(text.substring(0, slash));
    List<String> parts = Arrays.asList(text.substring(slash + 1).split("\\+", -1));
    parts.forEach(AdapterSet::checkName);
    if (parts.stream().distinct().count() < parts.size()) {
      throw new InvalidConfigException("'" + text + "' names a part twice");
    }
    return new AdapterName(text.substring(0, slash), List.copyOf(parts));
  }

  AdapterName part(String part) {
    return new AdapterName(adapter, List.of(part));
  }

  /** Where it is saved, each part that is named where it would be with the whole. */
  Map<String, Path> places(Path directory) {
    boolean top = adapter.equals(Peft.DEFAULT_ADAPTER);
    Path place = top ? directory : directory.resolve(adapter);
    if (parts.isEmpty()) {
      return Map.of(adapter, place);
    }
    Map<String, Path> places = new LinkedHashMap<>();
    parts.forEach(part -> places.put(part(part).toString(), place.resolve(part)));
    return places;
  }

  @Override
  public String toString() {
    return parts.isEmpty() ? adapter : adapter + "/" + String.join("+", parts);
  }
}
