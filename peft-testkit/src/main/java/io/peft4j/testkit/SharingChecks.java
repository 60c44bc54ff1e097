package io.peft4j.testkit;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.PeftModel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Many requests, from one thread and from many. */
abstract class SharingChecks extends Checks {
  private static final int THREADS = 16;
  private static final int REQUESTS = 12;
  private static final String PASSING = "passing";

  SharingChecks(Supplier<Fixture> source) {
    super(source);
  }

  @Test
  void aThousandSwitchesLeaveNothingBehind() {
    try (PeftModel model = wrapTwo()) {
      forward(model);
      int live = LiveArrays.count();
      for (int i = 0; i < 1000; i++) {
        model.setActiveAdapters(i % 2 == 0 ? B : A);
        if (i % 25 == 0) {
          forward(model);
        }
      }
      LiveArrays.assertCount(live, "1,000 switches");
      for (int i = 0; i < 20; i++) {
        model.addAdapter("more", fixture.config());
        model.loadStateDict("more", model.stateDict(A, manager));
        if (fixture.mergeable()) {
          model.merge(AdapterSet.of("more"), true);
          forward(model, "more");
        }
        model.deleteAdapter("more");
        manager.getManagedArrays().forEach(array -> array.close());
      }
      LiveArrays.assertCount(live, "adding, replacing, merging and deleting");
    }
  }

  @Test
  void trainingLeavesNothingBehind() {
    try (PeftModel model = wrap()) {
      Sgd.train(model, network, manager, 2, 0.01f);
      int live = LiveArrays.count();
      Sgd.train(model, network, manager, fixture.trainingSteps(), 0.01f);
      LiveArrays.assertCount(live, fixture.trainingSteps() + " training steps");
    }
  }

  @Test
  void threadsWithDifferentAdaptersComputeWhatOneThreadComputes()
      throws InterruptedException, ExecutionException {
    ExecutorService threads = Executors.newFixedThreadPool(THREADS + 1);
    try (PeftModel model = wrapRandom()) {
      List<String> names = new ArrayList<>();
      List<float[]> alone = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        names.add("adapter" + i);
        model.addAdapter(names.get(i), i % 2 == 0 ? fixture.config() : fixture.other());
        randomise(model, names.get(i), 50 + i);
        alone.add(forward(model, names.get(i)));
      }
      Map<String, NDArray> passing = model.stateDict(A, manager);
      float[] passingAlone = forward(model, A);
      CountDownLatch start = new CountDownLatch(1);
      List<Future<?>> futures = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        String name = names.get(i);
        float[] expected = alone.get(i);
        futures.add(
            threads.submit(
                () -> {
                  start.await();
                  for (int request = 0; request < REQUESTS; request++) {
                    request(model, name, expected);
                  }
                  return null;
                }));
      }
      AtomicBoolean ended = new AtomicBoolean();
      Future<?> unlucky =
          threads.submit(
              () -> {
                while (!ended.get()) {
                  requestOrRefusal(model, passingAlone);
                }
              });
      start.countDown();
      for (int round = 0; round < 3 || !futures.stream().allMatch(Future::isDone); round++) {
        change(model, passing, names.get(round % THREADS));
      }
      ended.set(true);
      for (Future<?> future : futures) {
        future.get();
      }
      unlucky.get();
    } finally {
      threads.shutdownNow();
    }
  }

  private void request(PeftModel model, String name, float[] expected) {
    try (NDManager own = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      float[] output = model.with(name).forward(network.inputs(own)).head().toFloatArray();
      Numbers.assertClose(expected, output, fixture.tolerance(), "the output of " + name);
    }
  }

  /** An adapter that comes and goes either computes what it should or is not there. */
  private void requestOrRefusal(PeftModel model, float[] expected) {
    try {
      request(model, PASSING, expected);
    } catch (AdapterStateException e) {
      Thread.yield();
    }
  }

  /** Adds, replaces, merges and deletes while requests run. */
  private void change(PeftModel model, Map<String, NDArray> passing, String served) {
    model.addAdapter(PASSING, fixture.config(), passing);
    model.loadStateDict(PASSING, passing);
    if (fixture.mergeable()) {
      model.merge(AdapterSet.of(PASSING), false);
      model.unmerge();
      model.merge(AdapterSet.of(served), true);
      model.unmerge();
      model.merge(AdapterSet.of(PASSING), true);
    }
    model.deleteAdapter(PASSING);
  }
}
