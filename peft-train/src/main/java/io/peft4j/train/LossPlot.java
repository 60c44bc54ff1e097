package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.UUID;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * A picture of how the loss went: every value as a faint point, and a line through their moving
 * average, for one or several runs.
 *
 * <p>Immutable. Needs no display, but it needs Java's desktop module and at least one font.
 */
public final class LossPlot {
  private static final int WIDTH = 1600;
  private static final int HEIGHT = 1000;
  private static final int MAXIMUM_RUNS = 8;

  /** A window that leaves about this many independent means in a line. */
  private static final int MEANS = 30;

  private static final int POINT_OPACITY = 60;

  /** Paul Tol's bright palette and black: told apart with any colour vision. */
  private static final List<Color> COLORS =
      List.of(
          new Color(0x44, 0x77, 0xaa),
          new Color(0xee, 0x66, 0x77),
          new Color(0x22, 0x88, 0x33),
          new Color(0xcc, 0xbb, 0x44),
          new Color(0x66, 0xcc, 0xee),
          new Color(0xaa, 0x33, 0x77),
          new Color(0xbb, 0xbb, 0xbb),
          Color.BLACK);

  // Series that are not in the legend have names that no run may have.
  private static final String POINTS = "\0points";
  private static final String UNSEEN = "\0unseen";

  private static final class Run {
    private final String name;
    private final double[] steps;
    private final double[] values;

    Run(String name, double[] steps, double[] values) {
      this.name = name;
      this.steps = steps;
      this.values = values;
    }
  }

  private final String title;
  private final String stepAxis;
  private final String valueAxis;
  private final int window;
  private final List<Run> runs;

  private LossPlot(Builder builder) {
    this.title = builder.title;
    this.stepAxis = builder.stepAxis;
    this.valueAxis = builder.valueAxis;
    this.window = builder.window;
    this.runs = List.copyOf(builder.runs);
  }

  /**
   * Starts a plot.
   *
   * @return a builder with no runs yet
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Draws the plot into a PNG file, which appears whole or not at all: it is written under another
   * name beside it, forced to disk and renamed.
   *
   * @param png the file to write or replace; its directory must be there
   * @throws PeftException if it cannot be drawn or written
   */
  public void write(Path png) {
    BufferedImage image = draw();
    Path target = png.toAbsolutePath();
    Path draft = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    try {
      try (FileChannel channel =
              FileChannel.open(draft, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
          OutputStream out = Channels.newOutputStream(channel)) {
        ImageIO.write(image, "png", out);
        channel.force(true);
      }
      move(draft, target);
    } catch (IOException e) {
      throw new PeftException("cannot write the plot " + png + ": " + e, e);
    } finally {
      // Gone already if it was moved; a draft left behind must not hide why it was.
      draft.toFile().delete();
    }
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  BufferedImage draw() {
    try {
      return BitmapEncoder.getBufferedImage(chart());
    } catch (LinkageError | InternalError e) {
      throw new PeftException(
          "cannot draw the plot: Java's graphics do not work here. Is a font installed"
              + " (on Debian: fontconfig and fonts-dejavu-core)? "
              + e,
          e);
    }
  }

  private XYChart chart() {
    XYChart chart =
        new XYChartBuilder()
            .width(WIDTH)
            .height(HEIGHT)
            .title(title)
            .xAxisTitle(stepAxis)
            .yAxisTitle(valueAxis)
            .build();
    PlotStyle.apply(chart.getStyler());
    chart.getStyler().setXAxisMin(Math.min(0, first()));
    if (reachesDown()) {
      chart.getStyler().setYAxisMin(0.0);
    }
    spaceTicksFreely(chart);
    for (int i = 0; i < runs.size(); i++) {
      Run run = runs.get(i);
      Color color = COLORS.get(i);
      XYSeries points = chart.addSeries(run.name + POINTS, run.steps, run.values);
      points.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
      points.setMarker(SeriesMarkers.CIRCLE);
      points.setMarkerColor(
          new Color(color.getRed(), color.getGreen(), color.getBlue(), POINT_OPACITY));
      points.setShowInLegend(false);
    }
    for (int i = 0; i < runs.size(); i++) {
      Run run = runs.get(i);
      XYSeries line = chart.addSeries(run.name, run.steps, curve(run.values));
      line.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Line);
      line.setMarker(SeriesMarkers.NONE);
      line.setLineColor(COLORS.get(i));
      line.setLineStyle(new BasicStroke(4, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    }
    return chart;
  }

  /**
   * Where all steps are the same distance apart, the chart library puts a tick label on as many as
   * it can squeeze in. A series that is not seen, at uneven steps, has it choose round numbers
   * instead.
   */
  private void spaceTicksFreely(XYChart chart) {
    Run run = runs.get(0);
    double from = run.steps[0];
    double to = run.steps[run.steps.length - 1];
    double[] uneven = {from, from + 0.3 * (to - from), to};
    double[] level = {run.values[0], run.values[0], run.values[0]};
    XYSeries unseen = chart.addSeries(UNSEEN, uneven, level);
    unseen.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
    unseen.setMarker(SeriesMarkers.NONE);
    unseen.setShowInLegend(false);
  }

  private double first() {
    return runs.stream().mapToDouble(run -> run.steps[0]).min().orElse(0);
  }

  /** Whether the values come so near to 0 that the axis should start there. */
  private boolean reachesDown() {
    DoubleSummaryStatistics all =
        runs.stream().flatMapToDouble(run -> Arrays.stream(run.values)).summaryStatistics();
    return all.getMin() >= 0 && all.getMin() < all.getMax() / 2;
  }

  /** Twice the moving average, which rounds off the corners that single values leave in one. */
  private double[] curve(double[] values) {
    int width = window > 0 ? window : Math.max(1, values.length / MEANS);
    return smooth(smooth(values, width), width);
  }

  /**
   * Means over a window around each value. At the start, where a loss falls fast, the window
   * shrinks on both sides alike so as not to begin too low; at the end only on the side where there
   * are no more values.
   */
  static double[] smooth(double[] values, int window) {
    double[] sums = new double[values.length + 1];
    for (int i = 0; i < values.length; i++) {
      sums[i + 1] = sums[i] + values[i];
    }
    double[] means = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      int half = Math.min(window / 2, i);
      int end = Math.min(values.length, i + half + 1);
      means[i] = (sums[end] - sums[i - half]) / (end - (i - half));
    }
    return means;
  }

  /** Gathers what is to be drawn. */
  public static final class Builder {
    private final List<Run> runs = new ArrayList<>();
    private String title = "Training loss";
    private String stepAxis = "step";
    private String valueAxis = "loss";
    private int window;

    private Builder() {}

    /**
     * Sets the title.
     *
     * @param title the words above the picture; "Training loss" if not set
     * @return this builder
     */
    public Builder title(String title) {
      this.title = title;
      return this;
    }

    /**
     * Sets what the axes are called.
     *
     * @param steps the horizontal one; "step" if not set
     * @param values the vertical one; "loss" if not set
     * @return this builder
     */
    public Builder axes(String steps, String values) {
      this.stepAxis = steps;
      this.valueAxis = values;
      return this;
    }

    /**
     * Sets how many values the moving average takes in.
     *
     * @param window a number of values, 1 for a line through every value; a thirtieth of each run
     *     if not set
     * @return this builder
     * @throws InvalidConfigException if it is below 1
     */
    public Builder window(int window) {
      if (window < 1) {
        throw new InvalidConfigException(
            "the moving average should take in at least 1 value, takes in " + window);
      }
      this.window = window;
      return this;
    }

    /**
     * Adds a run whose steps count from 1.
     *
     * @param name what the legend calls it
     * @param losses a value for each step; those that are not finite are left out
     * @return this builder
     * @throws InvalidConfigException if no value is finite, the name is taken or there are already
     *     eight runs
     */
    public Builder run(String name, double[] losses) {
      double[] steps = new double[losses.length];
      Arrays.setAll(steps, i -> i + 1);
      return run(name, steps, losses);
    }

    /**
     * Adds a run.
     *
     * @param name what the legend calls it
     * @param steps where each value belongs on the horizontal axis, finite and ascending
     * @param losses the values; those that are not finite are left out
     * @return this builder
     * @throws InvalidConfigException if the arrays differ in length, no value is finite, the steps
     *     do not ascend, the name is taken or there are already eight runs
     */
    public Builder run(String name, double[] steps, double[] losses) {
      if (steps.length != losses.length) {
        throw new InvalidConfigException(
            "run '"
                + name
                + "' should have as many steps as losses, has "
                + steps.length
                + " and "
                + losses.length);
      }
      if (runs.size() == MAXIMUM_RUNS) {
        throw new InvalidConfigException("a plot has at most " + MAXIMUM_RUNS + " runs");
      }
      if (name.isBlank()
          || name.indexOf('\0') >= 0
          || runs.stream().anyMatch(run -> run.name.equals(name))) {
        throw new InvalidConfigException(
            "a run should have a name that no other has, is called '" + name + "'");
      }
      int[] kept =
          IntStream.range(0, losses.length).filter(i -> Double.isFinite(losses[i])).toArray();
      if (kept.length == 0) {
        throw new InvalidConfigException("run '" + name + "' has no finite loss");
      }
      for (int i = 0; i < steps.length; i++) {
        if (!Double.isFinite(steps[i]) || (i > 0 && steps[i] <= steps[i - 1])) {
          throw new InvalidConfigException(
              "the steps of run '"
                  + name
                  + "' should be finite and ascend, step "
                  + i
                  + " is "
                  + steps[i]);
        }
      }
      runs.add(
          new Run(
              name,
              Arrays.stream(kept).mapToDouble(i -> steps[i]).toArray(),
              Arrays.stream(kept).mapToDouble(i -> losses[i]).toArray()));
      return this;
    }

    /**
     * Makes the plot.
     *
     * @return the plot of the runs added so far
     * @throws InvalidConfigException if there is no run
     */
    public LossPlot build() {
      if (runs.isEmpty()) {
        throw new InvalidConfigException("a plot should have at least 1 run, has none");
      }
      return new LossPlot(this);
    }
  }
}
