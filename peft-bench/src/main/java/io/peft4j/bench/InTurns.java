package io.peft4j.bench;

import java.util.ArrayList;
import java.util.List;

/**
 * Measures several tasks in turn, A B C A B C, so that what else the machine does falls on all of
 * them alike.
 */
final class InTurns {
  private final List<Task> tasks = new ArrayList<>();

  private record Task(String name, Runnable timed, Runnable after) {}

  InTurns task(String name, Runnable timed) {
    return task(name, timed, () -> {});
  }

  /** Adds a task with what undoes it, which is not timed. */
  InTurns task(String name, Runnable timed, Runnable after) {
    tasks.add(new Task(name, timed, after));
    return this;
  }

  /**
   * Runs all tasks once a round.
   *
   * @param warmups rounds that do not count, before the others
   * @param rounds rounds that count
   */
  Times run(int warmups, int rounds) {
    Times times = new Times(rounds);
    for (int round = -warmups; round < rounds; round++) {
      for (Task task : tasks) {
        long begin = System.nanoTime();
        task.timed().run();
        double taken = (System.nanoTime() - begin) / 1e9;
        task.after().run();
        if (round >= 0) {
          times.put(task.name(), round, taken);
        }
      }
    }
    return times;
  }
}
