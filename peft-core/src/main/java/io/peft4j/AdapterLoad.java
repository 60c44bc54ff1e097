package io.peft4j;

import io.peft4j.spi.Adapter;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** One load that any number of requests wait for, each of which gets a lease of its own. */
final class AdapterLoad {
  private final CompletableFuture<Adapter> result = new CompletableFuture<>();

  /** How many leases to take. Guarded by the cache's monitor. */
  int requests;

  void done(Adapter adapter) {
    result.complete(adapter);
  }

  void failed(Throwable cause) {
    result.completeExceptionally(cause);
  }

  /** Waits for the load, which another thread makes. */
  Adapter await() {
    try {
      return result.join();
    } catch (CompletionException e) {
      if (e.getCause() instanceof PeftException known) {
        // An error of its own for each request: it is thrown by another thread.
        throw new AdapterStateException(String.valueOf(known.getMessage()), known);
      }
      throw e;
    }
  }
}
