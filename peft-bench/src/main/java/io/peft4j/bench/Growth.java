package io.peft4j.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.awt.Color;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler;

/**
 * How the cost of a training step grows with length, rows and rank: {@code Growth RESULTS PICTURE}
 * prints a table in Markdown and draws both sides.
 */
public final class Growth {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String PREFIX = "train.135m.";

  private final Map<String, List<Double>> values = new HashMap<>();

  private Growth() {}

  /** One size of a step. */
  private record Size(int rows, int length, int rank) {
    String name() {
      return rows + "x" + length + (rank == 8 ? "" : "r" + rank);
    }
  }

  /** Sizes of which one thing grows. */
  private record Series(
      String title, String axis, ToDoubleFunction<Size> grows, List<Size> sizes) {}

  private static final List<Series> SERIES =
      List.of(
          new Series(
              "4,096 tokens",
              "length",
              Size::length,
              List.of(
                  new Size(16, 256, 8),
                  new Size(8, 512, 8),
                  new Size(4, 1024, 8),
                  new Size(2, 2048, 8),
                  new Size(1, 4096, 8))),
          new Series(
              "rows of 256 tokens",
              "rows",
              Size::rows,
              List.of(
                  new Size(1, 256, 8),
                  new Size(2, 256, 8),
                  new Size(4, 256, 8),
                  new Size(8, 256, 8),
                  new Size(16, 256, 8))),
          new Series(
              "4 rows of 256 tokens",
              "rank",
              Size::rank,
              List.of(
                  new Size(4, 256, 8),
                  new Size(4, 256, 16),
                  new Size(4, 256, 32),
                  new Size(4, 256, 64),
                  new Size(4, 256, 128))));

  /**
   * Prints and draws.
   *
   * @param arguments the file of results, and the picture to write
   * @throws IOException if a file cannot be read or written
   */
  public static void main(String[] arguments) throws IOException {
    Growth growth = new Growth();
    for (String line : Files.readAllLines(Path.of(arguments[0]))) {
      JsonNode node = JSON.readTree(line);
      growth
          .values
          .computeIfAbsent(
              node.get("side").asText() + " " + node.get("figure").asText(),
              key -> new ArrayList<>())
          .add(node.get("value").asDouble());
    }
    growth.print();
    List<XYChart> charts = new ArrayList<>();
    for (boolean memory : new boolean[] {false, true}) {
      SERIES.forEach(series -> charts.add(growth.chart(series, memory)));
    }
    BitmapEncoder.saveBitmap(charts, 2, SERIES.size(), arguments[1], BitmapFormat.PNG);
  }

  private double rate(String side, Size size) {
    return median(side, size, "tokens_per_second");
  }

  private double memory(String side, Size size) {
    return median(side, size, "peak.mib");
  }

  private double median(String side, Size size, String figure) {
    String kind = side.equals("java") ? "fastest" : "bf16";
    List<Double> all = values.get(side + " " + PREFIX + size.name() + "." + kind + "." + figure);
    return all == null
        ? Double.NaN
        : Times.median(all.stream().mapToDouble(value -> value).toArray());
  }

  private void print() {
    System.out.println();
    System.out.println(
        "| rows x length, rank | peft4j, tokens/s | PEFT | ratio | peft4j, peak MiB | PEFT | of it |");
    System.out.println("|---|---:|---:|---:|---:|---:|---:|");
    SERIES.stream()
        .flatMap(series -> series.sizes().stream())
        .distinct()
        .forEach(
            size ->
                System.out.printf(
                    Locale.ROOT,
                    "| %d x %,d, %d | %.0f | %.0f | %.2f x | %,.0f | %,.0f | %.2f |%n",
                    size.rows(),
                    size.length(),
                    size.rank(),
                    rate("java", size),
                    rate("python", size),
                    rate("java", size) / rate("python", size),
                    memory("java", size),
                    memory("python", size),
                    memory("java", size) / memory("python", size)));
  }

  private XYChart chart(Series series, boolean memory) {
    XYChart chart =
        new XYChartBuilder()
            .width(480)
            .height(320)
            .title(series.title())
            .xAxisTitle(series.axis())
            .yAxisTitle(memory ? "peak memory, GiB" : "ms per token")
            .build();
    chart.getStyler().setXAxisLogarithmic(true);
    chart.getStyler().setYAxisMin(0.0);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setLegendPosition(Styler.LegendPosition.InsideSE);
    for (String side : List.of("java", "python")) {
      List<Double> x = new ArrayList<>();
      List<Double> y = new ArrayList<>();
      for (Size size : series.sizes()) {
        double value = memory ? memory(side, size) / 1024 : 1000 / rate(side, size);
        if (Double.isFinite(value)) {
          x.add(series.grows().applyAsDouble(size));
          y.add(value);
        }
      }
      if (!x.isEmpty()) {
        chart.addSeries(side.equals("java") ? "peft4j" : "PEFT", x, y);
      }
    }
    return chart;
  }
}
