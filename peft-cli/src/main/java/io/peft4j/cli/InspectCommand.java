package io.peft4j.cli;

import io.peft4j.InvalidConfigException;
import io.peft4j.ParameterReport;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.MatchProblem;
import io.peft4j.target.ModelLayout;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Shows what a model is made of, and what an adapter would do to it. */
@Command(
    name = "inspect",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Shows a model's modules, what an adapter configuration would match and what not, parameter"
          + " counts, and about how much memory loading and training take.",
      "",
      "Loads no weights, and needs none: with a config.json alone a model of any size can be"
          + " planned. Exits with 1 if the configuration names what the model does not have, or the"
          + " weights do not fit the model."
    })
final class InspectCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR|FILE",
      description = "A Hugging Face directory, or its config.json alone.")
  private Path base = Path.of("");

  @Option(
      names = "--config",
      paramLabel = "FILE|DIR",
      description = "An adapter_config.json, or the directory it lies in.")
  private @Nullable Path config;

  @Option(names = "--all", description = "List every module instead of putting layers together.")
  private boolean all;

  @Option(
      names = "--batch",
      paramLabel = "N",
      defaultValue = "1",
      description = "Rows of a training batch, for the estimate (default: ${DEFAULT-VALUE}).")
  private long batch;

  @Option(
      names = "--length",
      paramLabel = "N",
      defaultValue = "512",
      description = "Tokens in a row, for the estimate (default: ${DEFAULT-VALUE}).")
  private long length;

  /** Made by picocli. */
  InspectCommand() {}

  @Override
  public Integer call() {
    if (batch < 1 || length < 1 || batch > 1 << 20 || length > 1 << 24) {
      throw new InvalidConfigException("--batch and --length must be at least 1, and sensible");
    }
    BaseFiles files = BaseFiles.read(base);
    AdapterPlan plan = config == null ? null : AdapterPlanner.plan(files.layout(), config);
    PrintWriter out = spec.commandLine().getOut();
    header(out, files);
    out.println();
    modules(out, files, plan);
    out.println();
    boolean fits = files.problems().isEmpty();
    files.problems().forEach(problem -> out.println("! " + problem));
    if (plan != null) {
      fits &= matches(out, files.layout(), plan);
    }
    counts(out, files.layout(), plan);
    out.println();
    memory(out, files, plan);
    return fits ? 0 : 1;
  }

  private static void header(PrintWriter out, BaseFiles files) {
    out.printf(
        Locale.ROOT, "%s: %s (%s), ", files.source(), files.title(), files.layout().modelType());
    if (files.tensors().isEmpty()) {
      out.println("no weights here");
    } else {
      out.printf(
          Locale.ROOT,
          "%d tensors in %d file%s, %s%n",
          files.tensors().size(),
          files.files(),
          files.files() == 1 ? "" : "s",
          Sizes.format(files.bytes()));
    }
  }

  private void modules(PrintWriter out, BaseFiles files, @Nullable AdapterPlan plan) {
    ModelLayout layout = files.layout();
    Map<String, String> effects = plan == null ? Map.of() : plan.effects();
    Map<String, List<String>> rows = new LinkedHashMap<>();
    for (LayerSpec layer : layout.layers()) {
      String tied = layout.tied().get(layer.weightName());
      rows.put(
          layer.path(),
          List.of(
              kind(layer),
              shape(layer.weight().getShape()) + (layer.bias() ? " +bias" : ""),
              files.type(layer.weightName()) + (tied == null ? "" : ", tied to " + tied),
              effects.getOrDefault(layer.path(), "")));
    }
    layout
        .parameters()
        .forEach(
            (name, shape) -> {
              int dot = Math.max(0, name.lastIndexOf('.'));
              if (layout.layer(name.substring(0, dot)).isEmpty()) {
                rows.put(
                    name,
                    List.of(
                        "Parameter",
                        shape(shape.getShape()),
                        files.type(name),
                        effects.getOrDefault(name, "")));
              }
            });
    Table table = new Table();
    table.row("module", "kind", "weight", "stored as", plan == null ? "" : "adapter");
    if (all) {
      rows.forEach((path, cells) -> table.row(cells(path, cells)));
    } else {
      PathGroups groups = new PathGroups();
      rows.forEach(groups::add);
      groups.rows().forEach(row -> table.row(cells(row.paths(), row.cells())));
    }
    table.print(out);
  }

  private static String[] cells(String path, List<String> rest) {
    List<String> cells = new ArrayList<>();
    cells.add(path);
    cells.addAll(rest);
    return cells.toArray(String[]::new);
  }

  private static String kind(LayerSpec layer) {
    return switch (layer.kind()) {
      case LINEAR -> "Linear";
      case LINEAR_TRANSPOSED -> "Linear (transposed)";
      case EMBEDDING -> "Embedding";
      case CONV1D -> "Conv1d";
      case CONV2D -> "Conv2d";
      case OTHER -> layer.weight().dimension() == 1 ? "Norm" : "Other";
    };
  }

  private static String shape(long[] dimensions) {
    return Arrays.toString(dimensions);
  }

  /** What is matched and what not; tells whether all of it fits. */
  private boolean matches(PrintWriter out, ModelLayout layout, AdapterPlan plan) {
    long adaptable =
        layout.layers().stream().filter(layer -> layer.kind() != LayerKind.OTHER).count();
    out.printf(
        Locale.ROOT,
        "%s: %s, adapts %d of %d layers that can be adapted%n",
        config,
        plan.method(),
        plan.adapted(),
        adaptable);
    PathGroups left = new PathGroups();
    for (String module : plan.left()) {
      int colon = module.indexOf(": ");
      left.add(module.substring(0, colon), List.of(module.substring(colon)));
    }
    left.rows().forEach(row -> out.println("- " + row.paths() + row.cells().get(0)));
    for (MatchProblem problem : plan.problems()) {
      out.println("! " + problem.message());
    }
    return plan.problems().isEmpty();
  }

  private static void counts(PrintWriter out, ModelLayout layout, @Nullable AdapterPlan plan) {
    long base = layout.parameterCount();
    out.println(
        plan == null
            ? new ParameterReport(0, base)
            : new ParameterReport(plan.trainable(), base + plan.trainable() - plan.borrowed()));
  }

  private void memory(PrintWriter out, BaseFiles files, @Nullable AdapterPlan plan) {
    AdapterPlan planned =
        plan == null ? new AdapterPlan("", Map.of(), 0, 0, 0, 0, List.of(), List.of()) : plan;
    MemoryEstimate memory = MemoryEstimate.of(files.layout(), planned, batch * length);
    Table table = new Table();
    table.row("memory, estimated", "", "");
    table.row("  weights on disk", Sizes.format(files.storedBytes()), "");
    table.row(
        "  weights, loaded",
        Sizes.format(memory.weights()),
        "in float32; float32 files are mapped, not copied");
    if (plan != null) {
      table.row(
          "  adapter", Sizes.format(memory.adapter()), "with its gradients and AdamW's moments");
      table.row(
          "  activations",
          Sizes.format(memory.activations()),
          "for " + batch + " x " + length + " tokens (--batch, --length)");
      table.row("  process", Sizes.format(MemoryEstimate.PROCESS), "for the JVM and the engine");
      table.row("  training, in all", Sizes.format(memory.total()), "");
    }
    table.print(out);
  }
}
