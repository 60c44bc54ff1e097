package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterCache;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.PeftView;
import io.peft4j.nn.PassLease;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.PeftDirectory;
import io.peft4j.testkit.LiveArrays;
import io.peft4j.testkit.TinyNetwork;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Many adapters over one base, within a budget. */
final class AdapterCacheTest {
  private static final int TENANTS = 16;
  private static final int THREADS = 16;
  private static final long PLENTY = 1 << 30;

  @TempDir static Path directory;
  private static Map<String, float[]> expected;
  private static long size;

  private final NDManager manager = NDManager.newBaseManager("PyTorch");
  private final TinyNetwork network = new TinyNetwork(1);
  private PeftModel model;
  private int live;

  /** Saves the tenants' adapters, and what each computes alone. */
  @BeforeAll
  static void save() {
    expected = new TreeMap<>();
    try (TinyNetwork network = new TinyNetwork(1);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PeftModel model = Peft.open(network)) {
      for (int i = 0; i < TENANTS; i++) {
        String name = "tenant-" + i;
        model.addAdapter(
            name,
            LoraConfig.builder()
                .rank(1 + i % 4)
                .alpha(4)
                .targetModules("mix", "up", "down")
                .initialization(LoraInitialization.Kind.RANDOM)
                .build());
        expected.put(name, forward(model.with(name), inputs(manager, 2)));
        model.saveAs(name, directory.resolve(name));
        size = Math.max(size, model.adapter(name).bytes());
      }
    }
  }

  @AfterAll
  static void forget() {
    expected = Map.of();
  }

  @BeforeEach
  void open() {
    model = Peft.open(network);
    live = LiveArrays.count();
  }

  @AfterEach
  void close() {
    model.close();
    network.close();
    manager.close();
  }

  private static NDList inputs(NDManager manager, int rows) {
    long[] tokens = new Random(7).longs(rows * 5L, 0, TinyNetwork.TOKENS).toArray();
    // All rows alike, so that they differ by their adapters alone.
    for (int i = 5; i < tokens.length; i++) {
      tokens[i] = tokens[i % 5];
    }
    return new NDList(manager.create(tokens, new Shape(rows, 5)));
  }

  private static float[] forward(PeftView view, NDList inputs) {
    try (NDArray output = view.forward(inputs).head()) {
      return output.toFloatArray();
    }
  }

  private AdapterCache cache(long budget) {
    AdapterCache cache = model.cache(budget);
    expected.keySet().forEach(name -> cache.register(name, directory.resolve(name)));
    return cache;
  }

  private static float[] of(String name) {
    return expected.get(name);
  }

  @Test
  void adaptersAreLoadedWhenTheyAreAskedFor() {
    NDList inputs = inputs(manager, 2);
    live = LiveArrays.count();
    try (AdapterCache cache = cache(PLENTY)) {
      assertEquals(List.of(), cache.loadedNames());
      assertArrayEquals(of("tenant-3"), forward(cache.with("tenant-3"), inputs), 1e-6f);
      assertArrayEquals(of("tenant-5"), forward(cache.with("tenant-5"), inputs), 1e-6f);
      assertArrayEquals(of("tenant-3"), forward(cache.with("tenant-3"), inputs), 1e-6f);
      assertEquals(List.of("tenant-5", "tenant-3"), cache.loadedNames());
      AdapterCache.Statistics statistics = cache.statistics();
      assertEquals(TENANTS, statistics.registered());
      assertEquals(2, statistics.loads());
      assertEquals(2, statistics.misses());
      assertEquals(1, statistics.hits());
      assertEquals(0, statistics.evictions());
      assertEquals(List.of(), model.adapterNames());
    }
    LiveArrays.assertCount(live, "closing the cache");
  }

  @Test
  void theLeastRecentlyUsedIsDropped() {
    NDList inputs = inputs(manager, 2);
    // All of rank 4, so of one size.
    List<String> names = List.of("tenant-3", "tenant-7", "tenant-11");
    try (AdapterCache cache = cache(2 * size)) {
      cache.load("tenant-3", "tenant-7");
      forward(cache.with("tenant-3"), inputs);
      int before = LiveArrays.count();
      cache.load("tenant-11");
      assertEquals(List.of("tenant-3", "tenant-11"), cache.loadedNames());
      assertEquals(1, cache.statistics().evictions());
      LiveArrays.assertCount(before, "one adapter in the place of another of the same size");
      assertTrue(cache.statistics().bytes() <= 2 * size);
      cache.pin("tenant-3");
      cache.load("tenant-7", "tenant-11");
      assertEquals(List.of("tenant-3", "tenant-11"), cache.loadedNames());
      assertThrows(AdapterStateException.class, () -> cache.with("stranger"));
      cache.pin("tenant-7");
      AdapterStateException error =
          assertThrows(AdapterStateException.class, () -> cache.pin("tenant-11"));
      assertTrue(error.getMessage().contains("budget of " + 2 * size), error.getMessage());
      assertArrayEquals(of("tenant-11"), forward(cache.with("tenant-11"), inputs), 1e-6f);
      assertEquals(List.of("tenant-3", "tenant-7"), cache.loadedNames());
      cache.unpin("tenant-3");
      cache.load("tenant-11");
      assertEquals(List.of("tenant-7", "tenant-11"), cache.loadedNames());
      assertEquals(3, names.size());
    }
  }

  @Test
  void withoutABudgetRequestsStillGetTheirAdapters() {
    NDList inputs = inputs(manager, 2);
    live = LiveArrays.count();
    try (AdapterCache cache = cache(0)) {
      assertArrayEquals(of("tenant-2"), forward(cache.with("tenant-2"), inputs), 1e-6f);
      LiveArrays.assertCount(live, "a request that nothing is kept of");
      assertEquals(List.of(), cache.loadedNames());
    }
  }

  @Test
  void aRunningPassKeepsItsAdapter() {
    NDList inputs = inputs(manager, 2);
    try (AdapterCache cache = cache(PLENTY)) {
      PeftView view = cache.with("tenant-1");
      try (PassLease running = view.lease(2, 1)) {
        cache.replace("tenant-1", directory.resolve("tenant-2"));
        assertArrayEquals(of("tenant-2"), forward(view, inputs), 1e-6f);
        cache.unregister("tenant-1");
        assertThrows(AdapterStateException.class, () -> forward(view, inputs));
        try (NDList outputs = network.forward(running.pass(), inputs)) {
          assertArrayEquals(of("tenant-1"), outputs.head().toFloatArray(), 1e-6f);
        }
      }
    }
  }

  @Test
  void aReplacementThatCannotBeReadChangesNothing() {
    NDList inputs = inputs(manager, 2);
    try (AdapterCache cache = cache(PLENTY)) {
      assertThrows(
          AdapterStateException.class, () -> cache.replace("tenant-1", directory.resolve("none")));
      assertThrows(
          AdapterStateException.class,
          () -> cache.register("tenant-1", directory.resolve("tenant-2")));
      assertArrayEquals(of("tenant-1"), forward(cache.with("tenant-1"), inputs), 1e-6f);
    }
  }

  @Test
  void cachedAdaptersActTogetherWithTheModelsOwn() {
    NDList inputs = inputs(manager, 2);
    model.loadAdapter("own", directory.resolve("tenant-4"));
    model.loadAdapter("other", directory.resolve("tenant-6"));
    try (AdapterCache cache = cache(PLENTY)) {
      assertArrayEquals(
          forward(model.with("own", "other"), inputs),
          forward(cache.with("own", "tenant-6"), inputs),
          1e-6f);
      model.merge(AdapterSet.of("own"), false);
      assertArrayEquals(of("tenant-6"), forward(cache.with("tenant-6"), inputs), 1e-6f);
    }
  }

  @Test
  void concurrentMissesShareOneLoad() throws Exception {
    NDList inputs = inputs(manager, 2);
    live = LiveArrays.count();
    try (AdapterCache cache = cache(PLENTY)) {
      inThreads(
          thread -> {
            assertArrayEquals(of("tenant-9"), forward(cache.with("tenant-9"), inputs), 1e-6f);
            return true;
          });
      AdapterCache.Statistics statistics = cache.statistics();
      assertEquals(1, statistics.loads());
      assertEquals(THREADS, statistics.hits() + statistics.misses());
    }
    LiveArrays.assertCount(live, "closing the cache");
  }

  @Test
  void aFailingLoadIsToldToEachAndLeavesNothing() throws Exception {
    Path broken = directory.resolve("broken");
    AtomicFiles.createDirectories(broken);
    AtomicFiles.writeString(broken.resolve(PeftDirectory.CONFIG), "{\"peft_type\": \"LORA\"");
    try (AdapterCache cache = cache(PLENTY)) {
      cache.register("broken", broken);
      NDList inputs = inputs(manager, 2);
      live = LiveArrays.count();
      List<String> messages =
          inThreads(
              thread ->
                  assertThrows(
                          AdapterStateException.class,
                          () -> forward(cache.with(AdapterSet.rows("tenant-1", "broken")), inputs))
                      .getMessage());
      for (String message : messages) {
        assertTrue(message.contains("'broken'") && message.contains("JSON"), message);
      }
      assertTrue(cache.statistics().failures() > 0);
      cache.unregister("tenant-1");
      LiveArrays.assertCount(live, "loads that failed");
      // The next request tries again.
      cache.replace("broken", directory.resolve("tenant-8"));
      assertArrayEquals(of("tenant-8"), forward(cache.with("broken"), inputs), 1e-6f);
    }
  }

  @Test
  void threadsThatDropEachOthersAdaptersComputeTheSame() throws Exception {
    NDList inputs = inputs(manager, 2);
    live = LiveArrays.count();
    try (AdapterCache cache = cache(3 * size)) {
      inThreads(
          thread -> {
            Random random = new Random(thread);
            for (int i = 0; i < 40; i++) {
              String name = "tenant-" + random.nextInt(TENANTS);
              assertArrayEquals(of(name), forward(cache.with(name), inputs), 1e-6f, name);
              if (thread == 0 && i % 4 == 0) {
                cache.replace(name, directory.resolve(name));
              }
              assertTrue(cache.statistics().bytes() <= 3 * size);
            }
            return true;
          });
      assertTrue(cache.statistics().evictions() > TENANTS);
    }
    LiveArrays.assertCount(live, "closing the cache");
  }

  @Test
  void aThousandAreRegisteredAndSixtyFourActInOneBatch() {
    NDList inputs = inputs(manager, 64);
    live = LiveArrays.count();
    try (AdapterCache cache = model.cache(20 * size)) {
      for (int i = 0; i < 1000; i++) {
        cache.register("t" + i, directory.resolve("tenant-" + i % TENANTS));
      }
      List<String> rows = new ArrayList<>();
      for (int row = 0; row < 64; row++) {
        rows.add("t" + (row * 15 + row % 7));
      }
      assertEquals(64, rows.stream().distinct().count());
      float[] outputs = forward(cache.with(AdapterSet.rows(rows)), inputs);
      for (int row = 0; row < 64; row++) {
        int tenant = Integer.parseInt(rows.get(row).substring(1)) % TENANTS;
        assertArrayEquals(
            Arrays.copyOf(of("tenant-" + tenant), TinyNetwork.CLASSES),
            Arrays.copyOfRange(outputs, row * TinyNetwork.CLASSES, (row + 1) * TinyNetwork.CLASSES),
            1e-5f,
            rows.get(row));
      }
      assertTrue(cache.statistics().bytes() <= 20 * size);
      assertEquals(64, cache.statistics().loads());
    }
    LiveArrays.assertCount(live, "closing the cache");
  }

  @Test
  void aClosedCacheRefuses() {
    AdapterCache cache = cache(PLENTY);
    PeftView view = cache.with("tenant-1");
    cache.close();
    cache.close();
    NDList inputs = inputs(manager, 2);
    String message =
        assertThrows(AdapterStateException.class, () -> view.forward(inputs)).getMessage();
    assertTrue(message.contains("closed"), message);
    assertFalse(cache.loadedNames().contains("tenant-1"));
  }

  private interface Work<T> {
    T run(int thread) throws Exception;
  }

  /** Runs something in many threads that begin together. */
  private static <T> List<T> inThreads(Work<T> work) throws Exception {
    CyclicBarrier barrier = new CyclicBarrier(THREADS);
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    try {
      List<Callable<T>> tasks = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        int thread = i;
        tasks.add(
            () -> {
              barrier.await();
              return work.run(thread);
            });
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : threads.invokeAll(tasks)) {
        results.add(future.get());
      }
      return results;
    } finally {
      threads.shutdownNow();
    }
  }
}
