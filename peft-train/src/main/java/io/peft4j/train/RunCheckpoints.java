package io.peft4j.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.train.checkpoint.CheckpointStore;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** Saves a run and takes it up again. */
final class RunCheckpoints {
  private final CheckpointSettings settings;
  private final CheckpointStore store;
  private final Trainable model;
  private final List<TrainableParameter> parameters;
  private final Optimizer optimizer;
  private final Map<String, String> fingerprint;

  RunCheckpoints(
      CheckpointSettings settings,
      Trainable model,
      List<TrainableParameter> parameters,
      Optimizer optimizer,
      Map<String, String> fingerprint) {
    this.settings = settings;
    this.store = new CheckpointStore(settings.directory());
    this.model = model;
    this.parameters = parameters;
    this.optimizer = optimizer;
    this.fingerprint = fingerprint;
  }

  CheckpointSettings settings() {
    return settings;
  }

  /** A run that begins anew mixes its checkpoints with no other's. */
  RunState begin() {
    if (!store.list().isEmpty()) {
      throw new InvalidConfigException(
          settings.directory()
              + ": has checkpoints of another run already: resume it, or choose another directory");
    }
    store.clean();
    return new RunState();
  }

  /** From a given checkpoint, or the newest; a run that has none yet begins. */
  RunState resume(@Nullable Path given) {
    SortedMap<Long, Path> all = store.list();
    if (given == null && all.isEmpty()) {
      return begin();
    }
    Path checkpoint = given == null ? store.path(all.lastKey()) : given;
    CheckpointStore.verify(checkpoint);
    Path file = checkpoint.resolve(CheckpointStore.STATE);
    checkSettings(checkpoint, RunState.settings(file));
    RunState state = RunState.read(file);
    try (SafeTensors saved = SafeTensors.open(checkpoint.resolve(CheckpointStore.OPTIMIZER));
        NDManager own = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> arrays = new LinkedHashMap<>();
      saved.names().forEach(name -> arrays.put(name, saved.array(own, name)));
      // Each of the two checks before it changes anything; together they change all or nothing,
      // since the parameters' names and shapes are among the settings.
      optimizer.loadState(arrays);
    }
    Parameters.load(parameters, checkpoint.resolve(CheckpointStore.PARAMETERS));
    store.clean();
    return state;
  }

  private void checkSettings(Path checkpoint, Map<String, String> theirs) {
    List<String> differences = new ArrayList<>();
    TreeSet<String> names = new TreeSet<>(fingerprint.keySet());
    names.addAll(theirs.keySet());
    for (String name : names) {
      String here = fingerprint.getOrDefault(name, "absent");
      String there = theirs.getOrDefault(name, "absent");
      if (!here.equals(there)) {
        differences.add(name + " is " + there + " there and " + here + " here");
      }
    }
    if (!differences.isEmpty()) {
      throw new AdapterStateException(
          checkpoint
              + ": is of another run: "
              + String.join("; ", differences.subList(0, Math.min(4, differences.size())))
              + (differences.size() > 4 ? "; and " + (differences.size() - 4) + " more" : ""));
    }
  }

  Path save(RunState state) {
    Path written = store.write(state.step(), directory -> write(state, directory));
    if (settings.totalLimit() > 0) {
      store.prune(settings.totalLimit(), state.bestStep);
    }
    return written;
  }

  private void write(RunState state, Path directory) {
    model.save(directory);
    Parameters.save(parameters, directory.resolve(CheckpointStore.PARAMETERS));
    try (NDManager own = NDManager.newBaseManager("PyTorch")) {
      List<SafeTensorsWriter.Entry> entries = new ArrayList<>();
      optimizer
          .state(own)
          .forEach((key, array) -> entries.add(SafeTensorsWriter.Entry.of(key, array)));
      SafeTensorsWriter.write(
          directory.resolve(CheckpointStore.OPTIMIZER), entries, Map.of("format", "pt"));
    }
    state.write(directory.resolve(CheckpointStore.STATE), fingerprint);
  }

  /** The parameters as they were at the best evaluation; nothing if there was none. */
  void loadBest(RunState state) {
    if (state.bestStep > 0) {
      Path best = store.path(state.bestStep);
      CheckpointStore.verify(best);
      Parameters.load(parameters, best.resolve(CheckpointStore.PARAMETERS));
    }
  }
}
