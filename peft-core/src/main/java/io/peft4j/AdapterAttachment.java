package io.peft4j;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.spi.Adapter;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.spi.AttachContext;
import io.peft4j.spi.PeftMethod;
import io.peft4j.spi.PeftMethods;
import io.peft4j.spi.Preparation;
import io.peft4j.state.SavedAdapter;
import io.peft4j.torch.GradMode;
import java.nio.file.Path;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Makes adapters for one model's base and puts them under a name. */
final class AdapterAttachment {
  private final Backbone backbone;
  private final AdapterRegistry adapters;
  private final Merging merging;

  AdapterAttachment(Backbone backbone, AdapterRegistry adapters, Merging merging) {
    this.backbone = backbone;
    this.adapters = adapters;
    this.merging = merging;
  }

  /** Adds an adapter, with new tensors if none are given. */
  void add(String name, PeftConfig config, @Nullable Map<String, NDArray> tensors) {
    adapters.checkFree(name);
    if (tensors != null) {
      install(name, attach(PeftMethods.of(config), config, tensors, Map.of()), null);
      return;
    }
    try (Preparation prepared = PeftMethods.of(config).prepare(backbone, config)) {
      PeftConfig own = prepared.config();
      install(name, attach(PeftMethods.of(own), own, null, prepared.beginnings()), null);
    }
  }

  /** Adds a saved adapter. */
  void load(String name, Path directory) {
    adapters.checkFree(name);
    install(name, read(directory), null);
  }

  /** Adds an adapter with the configuration and copies of the tensors of another. */
  void copy(String from, String name) {
    adapters.checkFree(name);
    try (LeasedAdapters leased = adapters.lease(AdapterSet.of(from));
        NDManager tensors = NDManager.newBaseManager(backbone.device(), "PyTorch")) {
      Adapter source = adapters.one(from);
      PeftMethod method = PeftMethods.of(source.config());
      PeftConfig config = AdapterStates.config(source, method);
      install(name, attach(method, config, AdapterStates.copy(source, tensors), Map.of()), null);
    }
  }

  /** Puts other tensors in the place of an adapter's. */
  void replace(String name, Map<String, NDArray> tensors) {
    PeftMethod method;
    PeftConfig config;
    Adapter replaced;
    synchronized (adapters) {
      replaced = adapters.get(name);
      merging.checkNotMerged(name);
      method = PeftMethods.of(replaced.config());
      config = AdapterStates.config(replaced, method);
    }
    install(name, attach(method, config, tensors, Map.of()), replaced);
  }

  /** A saved adapter under no name, leased once for the caller. */
  Adapter read(Path directory) {
    PeftMethod method = PeftMethods.of(directory);
    try (SavedAdapter saved = method.read(directory);
        NDManager tensors = NDManager.newBaseManager(backbone.device(), "PyTorch")) {
      return attach(method, saved.config(), saved.tensors(tensors), Map.of());
    }
  }

  private Adapter attach(
      PeftMethod method,
      PeftConfig config,
      @Nullable Map<String, NDArray> tensors,
      Map<String, NDArray> beginnings) {
    NDManager owner = NDManager.newBaseManager(backbone.device(), "PyTorch");
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope();
        WeightSnapshot weights = merging.leaseBase()) {
      scope.suppressNotUsedWarning();
      AdapterBuilder builder = new AdapterBuilder(backbone.layout(), config, owner);
      method.attach(new AttachContext(backbone, weights, config, owner, tensors), builder);
      beginnings.forEach((key, values) -> values.copyTo(builder.parameters().get(key)));
      Adapter adapter = builder.build();
      AdapterConflicts.checkParts(backbone.layout(), adapter);
      return adapter;
    } catch (RuntimeException e) {
      owner.close();
      throw e;
    }
  }

  private void install(String name, Adapter adapter, @Nullable Adapter replaced) {
    try {
      synchronized (adapters) {
        adapters.checkOpen();
        if (adapters.find(name) != replaced) {
          throw new AdapterStateException("adapter '" + name + "' changed meanwhile");
        }
        merging.checkNotMerged(name);
        adapters.put(name, adapter);
      }
    } catch (RuntimeException e) {
      adapter.release();
      throw e;
    }
  }
}
