package io.peft4j.cli.train;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;

/** How much resident memory the process takes, where the system says so (Linux). */
final class PeakMemory {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path RESET = Path.of("/proc/self/clear_refs");
  private static final Path MEMORY = Path.of("/proc/meminfo");

  private PeakMemory() {}

  /** Begins to measure anew; false if that is not possible. */
  static boolean reset() {
    try {
      // 5 is the kernel's code for "set the peak to what is resident now".
      Files.write(RESET, "5".getBytes(StandardCharsets.US_ASCII));
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** The most bytes that were resident since the start or the last reset. */
  static OptionalLong peak() {
    return field(STATUS, "VmHWM:");
  }

  /** Bytes resident now. */
  static OptionalLong now() {
    return field(STATUS, "VmRSS:");
  }

  /** Bytes that new allocations can have without swapping. */
  static OptionalLong available() {
    return field(MEMORY, "MemAvailable:");
  }

  private static OptionalLong field(Path file, String name) {
    try {
      for (String line : Files.readAllLines(file, StandardCharsets.US_ASCII)) {
        if (line.startsWith(name)) {
          String[] words = line.substring(name.length()).strip().split(" ", 2);
          return OptionalLong.of(Long.parseLong(words[0]) * 1024);
        }
      }
    } catch (IOException | NumberFormatException e) {
      return OptionalLong.empty();
    }
    return OptionalLong.empty();
  }
}
