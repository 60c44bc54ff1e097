package io.peft4j.torch;

import ai.djl.pytorch.jni.JniUtils;

/**
 * The calling thread's gradient mode, set for the length of a try block and put back at its end.
 *
 * <p>The engine keeps one flag per thread, and every thread but the one that loaded the engine
 * starts with gradients on. A block that cares therefore always says which mode it wants.
 */
public final class GradMode implements AutoCloseable {
  private final boolean before;

  private GradMode(boolean on) {
    Kernel.prepareThread();
    before = JniUtils.isGradMode();
    if (before != on) {
      JniUtils.setGradMode(on);
    }
  }

  /**
   * Records operations for a backward pass until closed.
   *
   * @return the scope; close it on the same thread
   */
  public static GradMode on() {
    return new GradMode(true);
  }

  /**
   * Records nothing until closed.
   *
   * @return the scope; close it on the same thread
   */
  public static GradMode off() {
    return new GradMode(false);
  }

  /**
   * Gradients on or off until closed.
   *
   * @param on whether operations are recorded for a backward pass
   * @return the scope; close it on the same thread
   */
  public static GradMode set(boolean on) {
    return new GradMode(on);
  }

  @Override
  public void close() {
    JniUtils.setGradMode(before);
  }
}
