package io.peft4j.state;

import io.peft4j.InvalidConfigException;
import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A directory that appears whole or not at all: it is written under a temporary name beside its
 * place, then renamed.
 */
public final class NewDirectory {
  private NewDirectory() {}

  /**
   * Refuses a place where something is already.
   *
   * @param target the directory
   * @throws InvalidConfigException if there is a file, or a directory that is not empty
   */
  public static void check(Path target) {
    if (!Files.exists(target)) {
      return;
    }
    if (!Files.isDirectory(target)) {
      throw new InvalidConfigException(target + " is a file, not a directory");
    }
    try (Stream<Path> entries = Files.list(target)) {
      if (entries.findAny().isPresent()) {
        throw new InvalidConfigException(target + " is not empty; give a new or empty directory");
      }
    } catch (IOException e) {
      throw new PeftException(target + " cannot be read: " + e, e);
    }
  }

  /**
   * Writes a directory.
   *
   * @param target the directory; nothing or an empty directory may be there
   * @param content makes the directory that it is given, and what is in it
   * @throws InvalidConfigException if there is something already
   * @throws PeftException if it cannot be written
   */
  public static void write(Path target, Consumer<Path> content) {
    Path place = place(target);
    Path parent = place.getParent();
    if (parent == null) {
      throw new InvalidConfigException(target + " cannot be written");
    }
    AtomicFiles.createDirectories(parent);
    Path temporary = parent.resolve("." + place.getFileName() + "." + UUID.randomUUID() + ".tmp");
    // If the user interrupts, the JVM ends without coming back here.
    Thread cleaner = new Thread(() -> delete(temporary));
    Runtime.getRuntime().addShutdownHook(cleaner);
    try {
      content.accept(temporary);
      check(target);
      Files.move(temporary, place, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      throw new PeftException(target + " cannot be written: " + e, e);
    } finally {
      delete(temporary);
      Runtime.getRuntime().removeShutdownHook(cleaner);
    }
  }

  /** Where a link to an empty directory leads, else the path itself. */
  private static Path place(Path target) {
    try {
      return Files.exists(target) ? target.toRealPath() : target.toAbsolutePath().normalize();
    } catch (IOException e) {
      throw new PeftException(target + " cannot be read: " + e, e);
    }
  }

  private static void delete(Path directory) {
    if (!Files.exists(directory)) {
      return;
    }
    try {
      Files.walkFileTree(
          directory,
          new SimpleFileVisitor<Path>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                throws IOException {
              Files.delete(file);
              return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path visited, @Nullable IOException failure)
                throws IOException {
              Files.delete(visited);
              return FileVisitResult.CONTINUE;
            }
          });
    } catch (IOException e) {
      // What is left has a temporary name that nothing reads; the cause is reported already.
      return;
    }
  }
}
