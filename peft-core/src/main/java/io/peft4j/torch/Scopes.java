package io.peft4j.torch;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import java.util.function.Function;
import java.util.function.Supplier;

/** Frees intermediate arrays early. */
public final class Scopes {
  private static final NDManager SYSTEM = system();

  private Scopes() {}

  private static NDManager system() {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
      return manager.getParentManager();
    }
  }

  /**
   * Takes an array out of its manager and out of the current scope. It is listed by the engine's
   * system manager, which is never closed, so that arrays nobody closes can be counted.
   *
   * @param array any array
   * @return the array; the caller closes it
   */
  public static NDArray unmanaged(NDArray array) {
    array.attach(SYSTEM);
    NDScope.unregister(array);
    return array;
  }

  /**
   * Makes an array that no manager and no scope closes; as {@link #unmanaged(NDArray)}.
   *
   * @param device where it is made
   * @param maker makes it, with a manager that is closed afterwards with all else that was made
   * @return the array; the caller closes it
   */
  public static NDArray unmanaged(Device device, Function<NDManager, NDArray> maker) {
    try (NDManager manager = NDManager.newBaseManager(device, "PyTorch")) {
      return unmanaged(maker.apply(manager));
    }
  }

  /**
   * Takes an array out of its manager, but leaves it to the current scope, which closes it.
   *
   * @param array any array
   * @return the array
   */
  public static NDArray unowned(NDArray array) {
    array.attach(SYSTEM);
    return array;
  }

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

  /**
   * Computes the outputs of a network and closes everything else that was made on the way. What
   * comes out behaves as the result of any operation on the first input does: it belongs to that
   * input's manager, and to the caller's scope if one is open.
   *
   * @param inputs the network's inputs, at least one if there are outputs
   * @param body computes on the calling thread; an input may be among its results, and stays as it
   *     is then
   * @return the outputs
   */
  public static NDList outputs(NDList inputs, Supplier<NDList> body) {
    NDList outputs;
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      outputs = body.get();
      NDScope.unregister(outputs);
    }
    for (NDArray output : outputs) {
      if (inputs.stream().noneMatch(input -> input == output)) {
        output.attach(inputs.head().getManager());
        NDScope.register(output);
      }
    }
    return outputs;
  }
}
