package io.peft4j.torch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

/** Whose memory the values of an array lie in, and who closes it. */
final class MemoryTest {
  @Test
  void anEngineOwnedArrayIsNoViewOfItsBuffer() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      ByteBuffer buffer = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
      buffer.putFloat(0, 1).putFloat(4, 2);
      NDArray view = manager.create(buffer.slice(), new Shape(2), DataType.FLOAT32);
      NDArray owned = Ops.engineOwned(view);

      buffer.order(ByteOrder.nativeOrder()).putFloat(0, 7);

      assertArrayEquals(new float[] {1, 2}, owned.toFloatArray());
      assertEquals(manager, owned.getManager());
      assertThrows(IllegalStateException.class, view::toFloatArray);
    }
  }

  @Test
  void outputsBelongToTheCallersScope() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray input = manager.ones(new Shape(2));
      NDArray[] made = new NDArray[2];
      try (NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDList outputs =
            Scopes.outputs(
                new NDList(input),
                () -> {
                  made[0] = input.add(1);
                  made[1] = made[0].mul(2);
                  return new NDList(made[1], input);
                });
        assertSame(made[1], outputs.get(0));
        assertEquals(manager, made[1].getManager());
        assertThrows(IllegalStateException.class, made[0]::toFloatArray, "an intermediate array");
        assertArrayEquals(new float[] {4, 4}, made[1].toFloatArray());
      }
      assertThrows(IllegalStateException.class, made[1]::toFloatArray, "an output");
      assertArrayEquals(new float[] {1, 1}, input.toFloatArray());

      NDArray kept = Scopes.outputs(new NDList(input), () -> new NDList(input.add(1))).head();
      assertNotSame(input, kept);
      assertArrayEquals(new float[] {2, 2}, kept.toFloatArray(), "without a scope");
    }
  }
}
