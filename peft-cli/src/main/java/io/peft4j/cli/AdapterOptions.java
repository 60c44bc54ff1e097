package io.peft4j.cli;

import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.lora.Lora;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which adapters are loaded, made out of others, and active: what several commands share. */
final class AdapterOptions {
  @Option(
      names = "--adapter",
      paramLabel = "[NAME=]DIR|FILE",
      description = {
        "An adapter directory; may be given several times. One without a name is 'default'. For a"
            + " base that was exported to ONNX, an .onnx_adapter file.",
        "Write ./a=b for a directory whose name has an equals sign."
      })
  private List<String> adapters = new ArrayList<>();

  @Option(
      names = "--active",
      paramLabel = "A[=S],B...",
      description =
          "The adapters that act, each with a strength (default 1). Without it every adapter"
              + " given acts or, with --combine, the new one alone. NAME/PART+PART names parts of a"
              + " hybrid.")
  private @Nullable String active;

  @Option(
      names = "--combine",
      paramLabel = "NEW=TYPE:A=W,B=W...",
      description = {
        "Makes an adapter out of others, each with a weight. TYPE: cat, svd, linear, ties, ties_svd,"
            + " dare_linear, dare_ties, dare_linear_svd, dare_ties_svd, magnitude_prune,"
            + " magnitude_prune_svd.",
        "Settings stand beside the weights: density=0.5, svd_rank=4,"
            + " majority_sign_method=total|frequency, seed=0."
      })
  private List<String> combinations = new ArrayList<>();

  /** An adapter to load. */
  record Named(String name, Path directory) {}

  /** Whether {@code --active} was given. */
  boolean hasActive() {
    return active != null;
  }

  /** Whether no adapter was given. */
  boolean isEmpty() {
    return adapters.isEmpty();
  }

  /**
   * The one adapter of an exported model, a file; null if none is given.
   *
   * @throws InvalidConfigException if there are several, or options that only directories take
   */
  @Nullable Named file() {
    if (adapters.size() > 1 || active != null || !combinations.isEmpty()) {
      throw new InvalidConfigException(
          "an exported model runs with one adapter, an .onnx_adapter file: give --adapter once,"
              + " without --active and --combine");
    }
    if (adapters.isEmpty()) {
      return null;
    }
    Named adapter = named(adapters.get(0));
    if (!Files.isRegularFile(adapter.directory())) {
      throw new MalformedFileException("--adapter: there is no file " + adapter.directory());
    }
    AdapterSet.checkName(adapter.name());
    return adapter;
  }

  /** What there is to load and to combine, checked as far as that goes without a model. */
  Request check() {
    List<Named> named = new ArrayList<>();
    List<String> names = new ArrayList<>();
    for (String text : adapters) {
      Named adapter = named(text);
      addName(names, adapter.name());
      if (!Files.isDirectory(adapter.directory())) {
        throw new MalformedFileException("--adapter: there is no directory " + adapter.directory());
      }
      named.add(adapter);
    }
    List<Combination> combined = new ArrayList<>();
    for (String text : combinations) {
      Combination combination = Combination.parse(text);
      combination.recipe().parts().forEach(part -> checkKnown("--combine", part.adapter(), names));
      addName(names, combination.name());
      combined.add(combination);
    }
    return new Request(List.copyOf(named), List.copyOf(combined), active(combined, names), names);
  }

  /**
   * What is wanted.
   *
   * @param named adapters to load
   * @param combined adapters to make out of them
   * @param active those that act
   * @param names all names there will be
   */
  record Request(
      List<Named> named, List<Combination> combined, AdapterSet active, List<String> names) {

    /** Loads and combines. */
    void apply(PeftModel model) {
      for (Named adapter : named) {
        try {
          model.loadAdapter(adapter.name(), adapter.directory());
        } catch (AdapterStateException e) {
          throw new PeftException(adapter.directory() + ": " + e.getMessage(), e);
        }
      }
      combined.forEach(made -> Lora.addWeightedAdapter(model, made.name(), made.recipe()));
    }
  }

  private AdapterSet active(List<Combination> combined, List<String> names) {
    if (active == null) {
      return combined.isEmpty()
          ? AdapterSet.of(names.toArray(String[]::new))
          : AdapterSet.of(combined.get(combined.size() - 1).name());
    }
    Map<String, Double> strengths = new LinkedHashMap<>();
    Pairs.parse("--active", active)
        .forEach(
            (name, strength) -> {
              checkKnown("--active", name, names);
              strengths.put(
                  name,
                  strength.isEmpty()
                      ? 1
                      : Pairs.number("--active", "the strength of " + name, strength));
            });
    AdapterSet set = AdapterSet.none();
    for (Map.Entry<String, Double> entry : strengths.entrySet()) {
      set = set.and(entry.getKey(), entry.getValue());
    }
    return set;
  }

  /** Checks that an option names an adapter there is. */
  static void checkKnown(String option, String name, List<String> names) {
    AdapterSet.of(name);
    int slash = name.indexOf('/');
    if (!names.contains(slash < 0 ? name : name.substring(0, slash))) {
      throw new InvalidConfigException(
          option
              + " names the adapter '"
              + name
              + "', which is not given"
              + (names.isEmpty()
                  ? "; none is: use --adapter"
                  : "; there are " + String.join(", ", names)));
    }
  }

  private static void addName(List<String> names, String name) {
    AdapterSet.checkName(name);
    if (names.contains(name)) {
      throw new InvalidConfigException(
          "two adapters are named '" + name + "'; give names of their own: --adapter NAME=DIR");
    }
    names.add(name);
  }

  private static Named named(String text) {
    int equals = text.indexOf('=');
    String before = equals < 0 ? "" : text.substring(0, equals);
    boolean hasName = equals >= 0 && before.indexOf('/') < 0 && before.indexOf('\\') < 0;
    String directory = hasName ? text.substring(equals + 1) : text;
    if (directory.isEmpty()) {
      throw new InvalidConfigException("--adapter is [NAME=]DIR; given was '" + text + "'");
    }
    return new Named(hasName ? before : Peft.DEFAULT_ADAPTER, Path.of(directory));
  }
}
