package io.peft4j.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;

/**
 * Turns a file of results into a table: {@code Report RESULTS}. A figure measured in several rounds
 * counts with its median.
 */
public final class Report {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Map<String, List<Double>> values = new HashMap<>();
  private final StringBuilder table = new StringBuilder();

  private Report() {}

  /**
   * Prints the table in Markdown.
   *
   * @param arguments the file of results
   * @throws IOException if the file cannot be read
   */
  public static void main(String[] arguments) throws IOException {
    Report report = new Report();
    for (String line : Files.readAllLines(Path.of(arguments[0]))) {
      JsonNode node = JSON.readTree(line);
      report
          .values
          .computeIfAbsent(
              node.get("side").asText() + " " + node.get("figure").asText(),
              key -> new ArrayList<>())
          .add(node.get("value").asDouble());
    }
    report.write();
    System.out.print(report.table);
  }

  private void write() {
    table.append("| figure | peft4j | Python | ratio | goal |\n|---|---:|---:|---:|---|\n");
    for (String size : List.of("8x128", "1x16")) {
      String what = "BERT-base " + size.replace("x", " x ") + ", ";
      same(what + "plain base, ms", "idle." + size + ".plain.ms", false, "");
      share(what + "wrapped, idle / plain", "idle." + size + ".idle.ratio", "< 1.01");
      share(what + "merged / plain", "idle." + size + ".merged.ratio", "1.00");
      share(what + "one adapter acting / plain", "idle." + size + ".active.ratio", "");
    }
    share(
        "merge: bandwidth / that of a copy to new memory",
        "merge.bandwidth_of_copy_new.ratio",
        "> 0.5");
    share(
        "merge: bandwidth / that of a copy to used memory",
        "merge.bandwidth_of_copy_used.ratio",
        "");
    same("merge r=8 on all linears, Llama 135M, ms", "merge.merge.ms", false, "");
    same("the same, refusing NaN, ms", "merge.safe_merge.ms", false, "");
    same("unmerge, ms", "merge.unmerge.ms", false, "");
    for (String type : List.of("float32", "bfloat16")) {
      same(
          "unpack NF4 to " + type + ", 10⁹ values/s (bitsandbytes)",
          "nf4.unpack_" + type + ".gvalues_per_second",
          true,
          "> 1");
      share("the same / a copy of the bytes written", "nf4.unpack_" + type + ".to_copy", "> 0.67");
    }
    same("quantize to NF4, 10⁹ values/s", "nf4.quantize.gvalues_per_second", true, "");
    for (String loaded : List.of("1", "64", "100", "1000")) {
      same(
          "switch the model, " + loaded + " loaded, µs",
          "switch.set_active." + loaded + ".us",
          false,
          "microseconds");
    }
    for (String loaded : List.of("1", "64", "100", "1000")) {
      same(
          "choose per request, " + loaded + " loaded, µs",
          "switch.per_request." + loaded + ".us",
          false,
          "microseconds");
    }
    same("add r=8 on q, v, Llama 135M, ms", "add.qv.ms", false, "< 20");
    same("add r=8 on all linears, ms", "add.all.ms", false, "< 20");
    for (String shape : List.of("bert", "llama")) {
      same(
          "load and first output, " + shape + ", within a process, ms",
          "load." + shape + ".in_process.ms",
          false,
          "");
      same(
          "load and first output, " + shape + ", whole process, ms",
          "load." + shape + ".process.ms",
          false,
          "");
    }
    for (String size : List.of("8x128", "32x64")) {
      training(size);
    }
    for (String shape : List.of("135m", "1b")) {
      for (String size : List.of("4x256", "1x2048")) {
        decoderTraining(shape, size, "", "> 1.5", "> 2");
        decoderTraining(shape, size, ".recomputed", "> 1.5", "> 2");
      }
      generation(shape);
    }
    fourBit();
    same(
        "SmolLM2-135M Q4_1, new tokens/s (llama.cpp)",
        "gguf.decode.tokens_per_second",
        true,
        "> 1");
    same("the same, prompt of 512, tokens/s", "gguf.prompt.tokens_per_second", true, "> 2");
  }

  private void fourBit() {
    String prefix = "generate.4bit.";
    String best = best(prefix, "decode.tokens_per_second", "bf16", "fp32");
    String what = "Llama 135M in NF4, LoRA r=8 on all linears (PEFT: " + best + "), ";
    pair(
        what + "new tokens/s",
        prefix + "decode.tokens_per_second",
        prefix + best + ".decode.tokens_per_second",
        true,
        "> 3");
    pair(
        what + "prompt of 512, tokens/s",
        prefix + "prompt.tokens_per_second",
        prefix + best + ".prompt.tokens_per_second",
        true,
        "");
    pair(
        what + "resident MiB", prefix + "resident.mib", prefix + best + ".resident.mib", false, "");
    for (String type : List.of("nf4.double", "nf4", "fp4", "int4")) {
      share("N(0,1) in blocks of 64, " + type + ", MAE", "error." + type + ".mean_absolute", "");
      share("the same, MSE", "error." + type + ".mean_squared", "");
    }
  }

  private void generation(String shape) {
    String prefix = "generate." + shape + ".";
    String what = "Llama " + shape + " in bfloat16, LoRA r=8 on all linears, ";
    String best = best(prefix, "decode.tokens_per_second", "bf16", "fp32");
    pair(
        what + "new tokens/s (PEFT: " + best + ")",
        prefix + "decode.tokens_per_second",
        prefix + best + ".decode.tokens_per_second",
        true,
        "> 2.5");
    best = best(prefix, "prompt.tokens_per_second", "bf16", "fp32");
    pair(
        what + "prompt of 512, tokens/s (PEFT: " + best + ")",
        prefix + "prompt.tokens_per_second",
        prefix + best + ".prompt.tokens_per_second",
        true,
        "> 1");
    share("8 rows, 8 adapters / one adapter, rate", prefix + "rows.eight_to_one.ratio", "> 0.8");
    same("load to first token, whole process, ms", prefix + "first.process.ms", false, "> 5");
    share(
        "memory of the base after its first token / its file",
        prefix + "first.base_to_file.ratio",
        "< 1.1");
    share("the same while tokens are made", prefix + "decoding.base_to_file.ratio", "< 1.1");
  }

  private String best(String prefix, String figure, String... kinds) {
    double bestValue = 0;
    String best = kinds[0];
    for (String kind : kinds) {
      double value = median("python " + prefix + kind + "." + figure).orElse(0);
      if (value > bestValue) {
        bestValue = value;
        best = kind;
      }
    }
    return best;
  }

  private void training(String size) {
    String prefix = "train." + size + ".";
    String what = "train BERT-base r=8, " + size.replace("x", " x ");
    String best = best(prefix, "samples_per_second", "fp32", "autocast", "bf16");
    pair(
        what + ", both in float32, samples/s",
        prefix + "fp32.samples_per_second",
        prefix + "fp32.samples_per_second",
        true,
        "> 1");
    pair(
        what + ", each at its fastest (PEFT: " + best + "), samples/s",
        prefix + "fastest.samples_per_second",
        prefix + best + ".samples_per_second",
        true,
        "> 1");
    pair(
        what + ", float32, peak MiB",
        prefix + "fp32.peak.mib",
        prefix + "fp32.peak.mib",
        false,
        "");
    pair(
        what + ", each at its fastest, peak MiB",
        prefix + "fastest.peak.mib",
        prefix + best + ".peak.mib",
        false,
        "");
  }

  private void decoderTraining(
      String shape, String size, String way, String rateGoal, String memoryGoal) {
    String prefix = "train." + shape + "." + size + ".";
    String what = "train Llama " + shape + ", " + size.replace("x", " x ") + way.replace('.', ' ');
    String best = best(prefix, "tokens_per_second", "fp32" + way, "bf16" + way);
    for (String own : List.of("fp32" + way, "fastest" + way)) {
      String other = own.startsWith("fp32") ? own : best;
      String pair = what + ", " + own + " (PEFT: " + other + "), ";
      pair(
          pair + "tokens/s",
          prefix + own + ".tokens_per_second",
          prefix + other + ".tokens_per_second",
          true,
          rateGoal);
      pair(
          pair + "peak MiB",
          prefix + own + ".peak.mib",
          prefix + other + ".peak.mib",
          false,
          memoryGoal);
      row(
          pair + "share of the GEMM floor",
          median("java " + prefix + own + ".floor.share"),
          median("python " + prefix + other + ".floor.share"),
          "",
          "");
    }
    if (way.isEmpty()) {
      same(
          what + ", fastest, recorded, tokens/s",
          prefix + "fastest.recorded.tokens_per_second",
          true,
          "");
    }
  }

  private OptionalDouble median(String key) {
    List<Double> measured = values.get(key);
    return measured == null
        ? OptionalDouble.empty()
        : OptionalDouble.of(Times.median(measured.stream().mapToDouble(value -> value).toArray()));
  }

  /** A ratio within one side, for both sides. */
  private void share(String what, String figure, String goal) {
    row(what, median("java " + figure), median("python " + figure), "", goal);
  }

  private void same(String what, String figure, boolean moreIsBetter, String goal) {
    pair(what, figure, figure, moreIsBetter, goal);
  }

  private void pair(
      String what, String javaFigure, String pythonFigure, boolean moreIsBetter, String goal) {
    OptionalDouble java = median("java " + javaFigure);
    OptionalDouble python = median("python " + pythonFigure);
    String ratio = "";
    if (java.isPresent() && python.isPresent()) {
      double advantage =
          moreIsBetter
              ? java.getAsDouble() / python.getAsDouble()
              : python.getAsDouble() / java.getAsDouble();
      ratio = number(advantage) + " x";
    }
    row(what, java, python, ratio, goal);
  }

  private void row(
      String what, OptionalDouble java, OptionalDouble python, String ratio, String goal) {
    table.append(
        "| %s | %s | %s | %s | %s |%n".formatted(what, number(java), number(python), ratio, goal));
  }

  private static String number(OptionalDouble value) {
    return value.isPresent() ? number(value.getAsDouble()) : "";
  }

  private static String number(double value) {
    if (value >= 1000) {
      return String.format(Locale.ROOT, "%,.0f", value);
    }
    return String.format(Locale.ROOT, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.3f", value);
  }
}
