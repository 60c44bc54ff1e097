package io.peft4j.cli;

import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.SaveOptions;
import io.peft4j.models.gguf.GgufExport;
import io.peft4j.models.gguf.GgufType;
import io.peft4j.onnx.ExportReport;
import io.peft4j.onnx.OnnxAdapter;
import io.peft4j.onnx.OnnxExporter;
import io.peft4j.onnx.gguf.GgufLora;
import io.peft4j.onnx.graph.WeightFormat;
import io.peft4j.spi.Adapter.AdaptedLayer;
import io.peft4j.state.NewDirectory;
import io.peft4j.state.TensorType;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Exports a base and its adapters to other formats. */
@Command(
    name = "export",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Exports a base and its adapters:",
      "  onnx                one graph, the active adapters folded in (a directory)",
      "  onnx-adapter-ready  a graph whose linear layers take LoRA while it runs, those that the"
          + " adapters given adapt or else all; the adapters are written beside it (a directory)",
      "  onnx-adapter        a LoRA adapter for such a graph (a file, .onnx_adapter)",
      "  safetensors         the merged model for transformers (a directory)",
      "  gguf                the merged model for llama.cpp, from a GGUF base (a file)",
      "  gguf-lora           a LoRA adapter for llama.cpp (a file)",
      "",
      "Each graph is run in ONNX Runtime and compared with the model; beyond the tolerance nothing"
          + " is written. Pickled .bin files are not written: reading one can run code."
    })
final class ExportCommand implements Callable<Integer> {
  private static final Map<String, WeightFormat> QUANTIZED =
      Map.of("none", WeightFormat.FLOAT32, "f16", WeightFormat.FLOAT16, "int4", WeightFormat.INT4);

  private static final Map<String, GgufType> GGUF =
      Map.of("none", GgufType.F16, "f16", GgufType.F16, "q8_0", GgufType.Q8_0, "f32", GgufType.F32);

  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR|FILE.gguf",
      description = "The base model, a Hugging Face directory or a GGUF file.")
  private Path base = Path.of("");

  @Mixin private AdapterOptions adapters = new AdapterOptions();

  /** What can be written. */
  private enum Format {
    ONNX,
    ONNX_ADAPTER_READY,
    ONNX_ADAPTER,
    SAFETENSORS,
    GGUF,
    GGUF_LORA;

    boolean isFile() {
      return this == ONNX_ADAPTER || this == GGUF || this == GGUF_LORA;
    }

    boolean isOneAdapter() {
      return this == ONNX_ADAPTER || this == GGUF_LORA;
    }

    static Format parse(String text) {
      return Arrays.stream(values())
          .filter(format -> format.toString().equals(text))
          .findFirst()
          .orElseThrow(
              () ->
                  new InvalidConfigException(
                      "--format is one of "
                          + Arrays.stream(values())
                              .map(Format::toString)
                              .collect(Collectors.joining(", "))
                          + "; given was '"
                          + text
                          + "'"));
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  @Option(
      names = "--format",
      required = true,
      paramLabel = "FORMAT",
      description = "onnx, onnx-adapter-ready, onnx-adapter, safetensors, gguf or gguf-lora.")
  private String format = "";

  @Option(
      names = "--quantize",
      paramLabel = "HOW",
      defaultValue = "none",
      description =
          "How the weights of a graph or of safetensors are stored: none (float32), f16, or for"
              + " graphs int4, blocks of 32; of gguf f16 (as with none), q8_0 or f32 (default: ${DEFAULT-VALUE}).")
  private String quantize = "";

  @Option(
      names = "--tolerance",
      paramLabel = "X",
      defaultValue = "1e-4",
      description =
          "The largest difference of a graph's answers, relative to the largest"
              + " (default: ${DEFAULT-VALUE}).")
  private double tolerance;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "DIR|FILE",
      description = "Where to write; a directory must not exist or be empty.")
  private Path target = Path.of("");

  /** Made by picocli. */
  ExportCommand() {}

  @Override
  public Integer call() {
    Format chosen = Format.parse(format);
    GgufType packing = GGUF.get(quantize);
    if (chosen == Format.GGUF && packing == null) {
      throw new InvalidConfigException(
          "--quantize for gguf is f16, q8_0 or f32; given was '" + quantize + "'");
    }
    WeightFormat weights = chosen == Format.GGUF ? WeightFormat.FLOAT32 : QUANTIZED.get(quantize);
    if (weights == null || (weights == WeightFormat.INT4 && chosen == Format.SAFETENSORS)) {
      throw new InvalidConfigException(
          "--quantize is none, f16 or, for graphs, int4; given was '" + quantize + "'");
    }
    BaseFiles.loadable(base);
    AdapterOptions.Request request = adapters.check();
    if (!chosen.isFile()) {
      NewDirectory.check(target);
    } else if (chosen.isOneAdapter()
        && (request.active().names().size() != 1 || weights != WeightFormat.FLOAT32)) {
      throw new InvalidConfigException(
          "--format "
              + chosen
              + " writes one adapter in float32; active are "
              + request.active().names());
    }
    OnnxExporter.Builder exporter = OnnxExporter.builder().weights(weights).tolerance(tolerance);
    try (PretrainedModel model = PretrainedModel.load(base, BaseFiles.FLOAT32);
        PeftModel adapted = Peft.open(model)) {
      request.apply(adapted);
      AdapterSet active = request.active();
      switch (chosen) {
        case ONNX -> report(exporter.build().export(adapted, active, target));
        case ONNX_ADAPTER_READY -> exportReady(exporter, adapted);
        case ONNX_ADAPTER -> {
          OnnxAdapter.of(adapted, active.names().get(0)).write(target);
          print("wrote adapter %s to %s%n", active.names().get(0), target);
        }
        case GGUF -> {
          adapted.merge(active, true);
          GgufExport.write(model, base, Objects.requireNonNull(packing), target);
          print("wrote %s%n", target);
        }
        case GGUF_LORA -> {
          GgufLora.write(adapted, active.names().get(0), model.config(), target);
          print("wrote adapter %s to %s%n", active.names().get(0), target);
        }
        case SAFETENSORS -> {
          adapted.merge(active, true).requireAll();
          TensorType type = weights == WeightFormat.FLOAT16 ? TensorType.F16 : TensorType.F32;
          SaveOptions options = SaveOptions.builder().type(type).build();
          NewDirectory.write(target, directory -> model.save(directory, options));
          print("wrote %s%n", target);
        }
      }
    }
    return 0;
  }

  private void exportReady(OnnxExporter.Builder exporter, PeftModel adapted) {
    // First, so that one that cannot be an input is refused before anything is written.
    Map<String, OnnxAdapter> files =
        adapted.adapterNames().stream()
            .collect(Collectors.toMap(name -> name, name -> OnnxAdapter.of(adapted, name)));
    String[] layers =
        adapted.adapterNames().stream()
            .flatMap(name -> adapted.adapter(name).adaptedLayers().stream())
            .map(AdaptedLayer::path)
            .distinct()
            .toArray(String[]::new);
    exporter.adapterLayers(layers);
    report(exporter.build().export(adapted, AdapterSet.none(), target));
    files.forEach((name, adapter) -> adapter.write(target.resolve(name + ".onnx_adapter")));
  }

  private void report(ExportReport report) {
    print(
        "exported %s to %s: %d values compared, largest error %.1e%n",
        report.architecture(), report.model(), report.values(), report.error());
  }

  private void print(String text, Object... values) {
    PrintWriter out = spec.commandLine().getOut();
    out.printf(Locale.ROOT, text, values);
  }
}
