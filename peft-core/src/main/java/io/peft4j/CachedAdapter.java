package io.peft4j;

import io.peft4j.spi.Adapter;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** An adapter that a cache knows. Guarded by the cache's monitor, but for what never changes. */
final class CachedAdapter {
  final String name;
  final Path directory;
  boolean pinned;
  @Nullable Adapter adapter;
  long bytes;
  @Nullable AdapterLoad load;

  CachedAdapter(String name, Path directory) {
    this.name = name;
    this.directory = directory;
  }

  /** What is said where it cannot be loaded. */
  AdapterStateException failure(RuntimeException cause) {
    return new AdapterStateException(
        "adapter '" + name + "' cannot be loaded from " + directory + ": " + cause.getMessage(),
        cause);
  }
}
