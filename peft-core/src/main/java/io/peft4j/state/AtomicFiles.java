package io.peft4j.state;

import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Files that appear whole or not at all.
 *
 * <p>A file is written under a temporary name beside the target, forced to disk and renamed over
 * the target; then the directory is forced to disk, where the system can do that. Whoever has the
 * old file open or mapped keeps it. If anything fails, the temporary file is deleted and the target
 * is what it was before.
 */
public final class AtomicFiles {
  private AtomicFiles() {}

  /** Writes the content of a file. */
  @FunctionalInterface
  public interface Content {
    /**
     * Writes it.
     *
     * @param channel the new file, empty; closed by the caller
     * @throws IOException if that fails
     */
    void writeTo(FileChannel channel) throws IOException;
  }

  /**
   * Writes a file.
   *
   * @param target the file; an existing one is replaced
   * @param content writes what is to be in it
   * @throws PeftException if it cannot be written
   */
  public static void write(Path target, Content content) {
    try (Pending pending = Pending.write(target, content)) {
      pending.commit();
    }
  }

  /**
   * Writes bytes.
   *
   * @param target the file; an existing one is replaced
   * @param bytes what is to be in it
   * @throws PeftException if it cannot be written
   */
  public static void writeBytes(Path target, byte[] bytes) {
    write(
        target,
        channel -> {
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          while (buffer.hasRemaining()) {
            channel.write(buffer);
          }
        });
  }

  /**
   * Writes text in UTF-8.
   *
   * @param target the file; an existing one is replaced
   * @param text what is to be in it
   * @throws PeftException if it cannot be written
   */
  public static void writeString(Path target, String text) {
    writeBytes(target, text.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Makes a directory and those above it, where they are missing.
   *
   * @param directory the directory
   * @throws PeftException if that fails, for example because there is a file of that name
   */
  public static void createDirectories(Path directory) {
    try {
      Files.createDirectories(directory);
    } catch (IOException e) {
      throw new PeftException(directory + ": cannot be made a directory: " + e, e);
    }
  }

  /**
   * Gives a directory another name, in one step and on disk when this returns.
   *
   * @param directory the directory
   * @param target its new name, on the same disk; nothing has it yet
   * @throws PeftException if that fails
   */
  public static void renameDirectory(Path directory, Path target) {
    try {
      Files.move(directory, target, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new PeftException(directory + ": cannot be renamed to " + target + ": " + e, e);
    }
    Path parent = target.toAbsolutePath().getParent();
    if (parent != null) {
      forceDirectory(parent);
    }
  }

  private static void forceDirectory(Path directory) {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    } catch (IOException e) {
      // Some systems open no directories. The file itself is on disk; its name will be soon.
      return;
    }
  }

  /** A file that is written and on disk, but under its temporary name. */
  static final class Pending implements AutoCloseable {
    private final Path temporary;
    private final Path target;

    private Pending(Path temporary, Path target) {
      this.temporary = temporary;
      this.target = target;
    }

    static Pending write(Path target, Content content) {
      // Made by the system's rules for new files: the temporary files of the JDK are private.
      Path temporary =
          target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID() + ".tmp");
      boolean done = false;
      try (FileChannel channel =
          FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
        content.writeTo(channel);
        channel.force(true);
        done = true;
      } catch (IOException e) {
        throw new PeftException(target + ": cannot be written: " + e, e);
      } finally {
        if (!done) {
          delete(temporary);
        }
      }
      return new Pending(temporary, target);
    }

    Path target() {
      return target;
    }

    /** Gives the file its name. */
    void commit() {
      try {
        if (Files.isDirectory(target)) {
          throw new IOException("there is a directory of that name");
        }
        try {
          Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
          Files.move(temporary, target, StandardCopyOption.REPLACE_EXISTING);
        }
      } catch (IOException e) {
        throw new PeftException(target + ": cannot be written: " + e, e);
      }
      Path directory = target.toAbsolutePath().getParent();
      if (directory != null) {
        forceDirectory(directory);
      }
    }

    /** Deletes the file if it has not been given its name. */
    @Override
    public void close() {
      delete(temporary);
    }

    private static void delete(Path temporary) {
      try {
        Files.deleteIfExists(temporary);
      } catch (IOException e) {
        // Left behind under a name that nothing reads; the cause of the failure is reported
        // already.
        return;
      }
    }
  }
}
