package io.peft4j.bench;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Locale;

/**
 * Appends measured values to a file, one JSON object a line: {@code side} ({@code java} or {@code
 * python}), {@code figure}, {@code value}. The Python peer writes the same.
 */
final class Figures {
  private static final double MEBIBYTE = 1 << 20;

  private final Path file;

  Figures(Path file) {
    this.file = file;
  }

  void add(String figure, double value) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("side", "java").put("figure", figure).put("value", value);
    System.out.printf(Locale.ROOT, "java   %-32s %.4g%n", figure, value);
    try {
      Files.writeString(file, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What the process holds in memory now, mapped files included. */
  static double residentMebibytes() {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmRSS:")) {
          return Double.parseDouble(line.replaceAll("\\D", "")) * 1024 / MEBIBYTE;
        }
      }
    } catch (IOException e) {
      System.err.println("memory is unknown: " + e);
    }
    return Double.NaN;
  }

  /** Adds the most memory this process has had resident, in MiB; nothing where that is unknown. */
  void addPeakMemory(String figure) {
    try {
      for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
        if (line.startsWith("VmHWM:")) {
          add(figure, Double.parseDouble(line.replaceAll("\\D", "")) * 1024 / MEBIBYTE);
        }
      }
    } catch (IOException e) {
      System.err.println("peak memory is unknown: " + e);
    }
  }
}
