package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import java.util.function.Supplier;

/** Frees intermediate arrays early. */
public final class Scopes {
  private Scopes() {}

  /**
   * Computes an array and closes everything else that was made on the way. What a backward pass
   * needs of it stays alive underneath.
   *
   * @param body computes on the calling thread; its result is a new array
   * @return the result, registered with the scope that was open before, if any
   */
  public static NDArray keepResult(Supplier<NDArray> body) {
    NDArray result;
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      result = body.get();
      NDScope.unregister(result);
    }
    NDScope.register(result);
    return result;
  }
}
