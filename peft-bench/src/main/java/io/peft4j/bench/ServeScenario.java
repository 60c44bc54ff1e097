package io.peft4j.bench;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterCache;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.NativeHeap;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * An adapter cache over the Llama shape, adapters of rank 8 on all linear layers: how much memory
 * each takes beside its tensors, and how long a request of one short text takes whose adapter is
 * loaded, and is not.
 */
final class ServeScenario {
  private static final int ADAPTERS = 32;
  private static final int ROUNDS = 40;

  private ServeScenario() {}

  static void run(Settings settings) {
    Figures figures = new Figures(settings.output());
    Path directory = settings.models().resolve("tenants");
    BaseShape shape = BaseShape.LLAMA;
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel base = shape.random(settings.tiny());
        PeftModel model = Peft.open(base)) {
      List<String> names = save(model, shape, directory);
      NDList inputs = shape.inputs(manager, settings.tiny(), 1, 16);
      memory(figures, model, names, directory);
      latency(figures, model, names, directory, inputs);
    }
  }

  private static List<String> save(PeftModel model, BaseShape shape, Path directory) {
    List<String> names = new ArrayList<>();
    for (int i = 0; i < ADAPTERS; i++) {
      names.add("tenant-" + i);
      model.addAdapter(names.get(i), shape.loraOnAll(8));
      model.saveAs(names.get(i), directory.resolve(names.get(i)));
      model.deleteAdapter(names.get(i));
    }
    return names;
  }

  private static AdapterCache cache(
      PeftModel model, List<String> names, Path directory, long budget) {
    AdapterCache cache = model.cache(budget);
    names.forEach(name -> cache.register(name, directory.resolve(name)));
    return cache;
  }

  private static void memory(Figures figures, PeftModel model, List<String> names, Path directory) {
    // What reading takes once, Java's heap first of all, is not an adapter's.
    try (AdapterCache cache = cache(model, names, directory, 0)) {
      cache.load(names.toArray(new String[0]));
    }
    try (AdapterCache cache = cache(model, names, directory, Long.MAX_VALUE)) {
      cache.load(names.get(0));
      double before = settled();
      cache.load(names.toArray(new String[0]));
      double after = settled();
      double bytes = cache.statistics().bytes();
      double each = (after - before) / (names.size() - 1);
      figures.add("serve.adapter.tensors.mib", bytes / names.size() / (1 << 20));
      figures.add("serve.adapter.memory.ratio", each / (bytes / names.size()));
    }
  }

  /** The process's own memory in bytes, files that are mapped left out, when it has calmed down. */
  private static double settled() {
    for (int i = 0; i < 3; i++) {
      System.gc();
      NativeHeap.trim();
    }
    try {
      return Files.readAllLines(Path.of("/proc/self/status")).stream()
          .filter(line -> line.startsWith("RssAnon:"))
          .mapToDouble(line -> Double.parseDouble(line.replaceAll("\\D", "")) * 1024)
          .findFirst()
          .orElse(Double.NaN);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void latency(
      Figures figures, PeftModel model, List<String> names, Path directory, NDList inputs) {
    try (AdapterCache all = cache(model, names, directory, Long.MAX_VALUE);
        AdapterCache none = cache(model, names, directory, 0)) {
      all.load(names.toArray(new String[0]));
      int[] next = new int[2];
      Times times =
          new InTurns()
              .task("hit", () -> request(all, names.get(next[0]++ % ADAPTERS), inputs))
              .task("miss", () -> request(none, names.get(next[1]++ % ADAPTERS), inputs))
              .run(ROUNDS / 4, ROUNDS);
      figures.add("serve.hit.ms", times.milliseconds("hit"));
      figures.add("serve.miss.ms", times.milliseconds("miss"));
      figures.add("serve.miss.ratio", times.ratio("miss", "hit"));
      figures.add(
          "serve.load.ms", none.statistics().loadSeconds() / none.statistics().loads() * 1e3);
    }
  }

  private static void request(AdapterCache cache, String name, NDList inputs) {
    cache.with(name).forward(inputs).close();
  }
}
