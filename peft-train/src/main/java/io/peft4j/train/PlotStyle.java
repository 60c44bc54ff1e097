package io.peft4j.train;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.util.Locale;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;

/** How plots look: white, a few level lines, type that stays legible when the picture is halved. */
final class PlotStyle {
  private static final Color INK = new Color(0x33, 0x33, 0x33);
  private static final Color GRID = new Color(0xe6, 0xe6, 0xe6);

  private PlotStyle() {}

  static void apply(XYStyler styler) {
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(2));
    styler.setPlotGridVerticalLinesVisible(false);
    styler.setAxisTicksLineVisible(false);
    styler.setChartFontColor(INK);
    styler.setAxisTickLabelsColor(INK);
    styler.setChartPadding(30);
    styler.setAxisTitlePadding(20);
    styler.setChartTitlePadding(20);
    styler.setChartTitleBoxVisible(false);
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 36));
    styler.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 28));
    styler.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 26));
    styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 28));
    styler.setLegendPosition(Styler.LegendPosition.InsideNE);
    styler.setLegendBorderColor(GRID);
    styler.setLegendPadding(18);
    styler.setLegendSeriesLineLength(60);
    styler.setMarkerSize(8);
    styler.setXAxisTickMarkSpacingHint(220);
    styler.setYAxisLabelAlignment(AxesChartStyler.TextAlignment.Right);
    styler.setYAxisTickMarkSpacingHint(110);
    styler.setAxisTickPadding(12);
    styler.setLocale(Locale.ROOT);
  }
}
