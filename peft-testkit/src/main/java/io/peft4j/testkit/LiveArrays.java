package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.djl.ndarray.NDManager;

/**
 * Counts the engine's native arrays, for tests that assert that nothing is left behind.
 *
 * <p>Every base manager is a child of the engine's system manager, which lists what belongs to it
 * and to all managers below. An array leaves the list when it is closed. Not seen are arrays that
 * someone has detached from every manager; this project attaches what it keeps by itself to the
 * system manager instead.
 */
public final class LiveArrays {
  private static final NDManager SYSTEM = system();

  private LiveArrays() {}

  private static NDManager system() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      return manager.getParentManager();
    }
  }

  /**
   * Counts the arrays of all managers.
   *
   * @return the number of arrays that have not been closed
   */
  public static int count() {
    return SYSTEM.getManagedArrays().size();
  }

  /**
   * Asserts that there are as many arrays as before.
   *
   * @param before what {@link #count()} gave earlier
   * @param what what has happened since, for the message
   */
  public static void assertCount(int before, String what) {
    assertEquals(before, count(), "native arrays after " + what);
  }
}
