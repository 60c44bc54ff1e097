package io.peft4j.state;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.PeftException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFilesTest {
  @TempDir Path directory;

  private List<String> listing() throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void writesAndReplaces() throws IOException {
    Path file = directory.resolve("a.json");
    AtomicFiles.writeString(file, "größer");
    assertEquals("größer", Files.readString(file));
    AtomicFiles.writeBytes(file, new byte[] {1, 2});
    assertEquals(2, Files.size(file));
    assertEquals(List.of("a.json"), listing());
  }

  @Test
  void showsNothingBeforeItIsWhole() throws IOException {
    Path file = directory.resolve("a");
    AtomicFiles.writeString(file, "old");
    AtomicFiles.write(
        file,
        channel -> {
          channel.write(ByteBuffer.wrap(new byte[] {'n'}));
          assertEquals("old", Files.readString(file));
        });
    assertEquals("n", Files.readString(file));
  }

  @Test
  void leavesTheOldFileAndNothingElseOnFailure() throws IOException {
    Path file = directory.resolve("a");
    AtomicFiles.writeString(file, "old");
    PeftException e =
        assertThrows(
            PeftException.class,
            () ->
                AtomicFiles.write(
                    file,
                    channel -> {
                      channel.write(ByteBuffer.wrap(new byte[1000]));
                      throw new IOException("disk full");
                    }));
    assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
    assertTrue(e.getMessage().contains("disk full"), e.getMessage());
    assertThrows(
        IllegalStateException.class,
        () ->
            AtomicFiles.write(
                file,
                channel -> {
                  throw new IllegalStateException("a caller's own");
                }));
    assertEquals("old", Files.readString(file));
    assertEquals(List.of("a"), listing());
  }

  @Test
  void saysWhichFileCannotBeWritten() throws IOException {
    Path taken = Files.createDirectory(directory.resolve("taken"));
    Path missing = directory.resolve("no/such/file");
    for (Path bad : List.of(taken, missing)) {
      PeftException e = assertThrows(PeftException.class, () -> AtomicFiles.writeString(bad, "x"));
      assertTrue(e.getMessage().startsWith(bad + ": cannot be written"), e.getMessage());
    }
    assertEquals(List.of("taken"), listing());
    Path file = directory.resolve("file");
    AtomicFiles.writeString(file, "");
    assertThrows(PeftException.class, () -> AtomicFiles.createDirectories(file.resolve("below")));
  }

  @Test
  void givesTheFileTheRightsOfAnyNewFile() throws IOException {
    Assumptions.assumeTrue(
        FileSystems.getDefault().supportedFileAttributeViews().contains("posix"));
    Path plain = Files.createFile(directory.resolve("plain"));
    Path atomic = directory.resolve("atomic");
    AtomicFiles.writeString(atomic, "x");
    assertEquals(Files.getPosixFilePermissions(plain), Files.getPosixFilePermissions(atomic));
  }
}
