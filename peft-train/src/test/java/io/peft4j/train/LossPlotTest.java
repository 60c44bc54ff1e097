package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LossPlotTest {
  private static double[] run(int steps, double end, long seed) {
    Random random = new Random(seed);
    double[] losses = new double[steps];
    for (int i = 0; i < steps; i++) {
      losses[i] = end + (2.3 - end) * Math.exp(-6.0 * i / steps) + 0.12 * random.nextGaussian();
    }
    return losses;
  }

  private static LossPlot two() {
    return LossPlot.builder()
        .title("all-MiniLM-L6-v2 on WordNet glosses")
        .run("head only", run(250, 0.8, 1))
        .run("LoRA, r = 8", run(250, 0.5, 2))
        .build();
  }

  /** How many pixels have about this colour. */
  private static long pixels(BufferedImage image, int rgb) {
    long count = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        count += (image.getRGB(x, y) & 0xffffff) == rgb ? 1 : 0;
      }
    }
    return count;
  }

  @Test
  void drawsALineForEveryRun() {
    BufferedImage both = two().draw();
    BufferedImage one = LossPlot.builder().run("head only", run(250, 0.8, 1)).build().draw();
    assertTrue(pixels(both, 0x4477aa) > 2000, "first line: " + pixels(both, 0x4477aa));
    assertTrue(pixels(both, 0xee6677) > 2000, "second line: " + pixels(both, 0xee6677));
    assertEquals(0, pixels(one, 0xee6677));
  }

  @Test
  void writesAPictureAndNothingElse(@TempDir Path directory) throws IOException {
    Path png = directory.resolve("loss.png");
    Files.writeString(png, "an older one");
    two().write(png);
    assertTrue(ImageIO.read(png.toFile()).getWidth() >= 1000);
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(List.of(png), files.toList());
    }
  }

  @Test
  void aPictureThatCannotBeWrittenIsAnError(@TempDir Path directory) throws IOException {
    Path absent = directory.resolve("absent").resolve("loss.png");
    String message = assertThrows(PeftException.class, () -> two().write(absent)).getMessage();
    assertTrue(message.contains("absent"), message);
    Path taken = Files.createDirectories(directory.resolve("taken.png").resolve("inner"));
    assertThrows(PeftException.class, () -> two().write(taken.getParent()));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(1, files.count());
    }
  }

  @Test
  void theLineIsAMovingAverage() {
    double[] values = {1, 2, 6, 4, 2, 9};
    assertArrayEquals(values, LossPlot.smooth(values, 1));
    assertArrayEquals(new double[] {1, 3, 4, 4, 5, 5.5}, LossPlot.smooth(values, 3), 1e-12);
    assertArrayEquals(new double[] {1, 3, 3, 4.6, 5.25, 5}, LossPlot.smooth(values, 5), 1e-12);
  }

  @Test
  void lossesThatAreNotFiniteAreLeftOut() {
    double[] losses = run(100, 0.5, 3);
    losses[10] = Double.NaN;
    losses[11] = Double.POSITIVE_INFINITY;
    BufferedImage image = LossPlot.builder().run("broken", losses).build().draw();
    assertTrue(pixels(image, 0x4477aa) > 1000);
  }

  @Test
  void aSingleStepCanBeDrawn() {
    LossPlot.builder().run("short", new double[] {0.5}).build().draw();
    LossPlot.builder().run("flat", new double[] {0.5, 0.5, 0.5}).build().draw();
  }

  @Test
  void whatCannotBeDrawnIsRefused() {
    double[] ok = {1, 2};
    assertThrows(InvalidConfigException.class, () -> LossPlot.builder().build());
    assertThrows(InvalidConfigException.class, () -> LossPlot.builder().window(0));
    assertThrows(InvalidConfigException.class, () -> LossPlot.builder().run("a", ok).run("a", ok));
    assertThrows(InvalidConfigException.class, () -> LossPlot.builder().run(" ", ok));
    assertThrows(InvalidConfigException.class, () -> LossPlot.builder().run("a", new double[0]));
    assertThrows(
        InvalidConfigException.class, () -> LossPlot.builder().run("a", new double[] {Double.NaN}));
    assertThrows(
        InvalidConfigException.class, () -> LossPlot.builder().run("a", new double[] {1}, ok));
    assertThrows(
        InvalidConfigException.class, () -> LossPlot.builder().run("a", new double[] {2, 1}, ok));
    LossPlot.Builder full = LossPlot.builder();
    for (int i = 0; i < 8; i++) {
      full.run("run " + i, ok);
    }
    assertThrows(InvalidConfigException.class, () -> full.run("run 8", ok));
    full.build().draw();
  }
}
