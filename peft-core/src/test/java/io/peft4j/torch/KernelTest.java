package io.peft4j.torch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.PeftException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

final class KernelTest {
  private static final Kernel LINEAR =
      Kernel.of("x: Tensor, w: Tensor -> Tensor", "return torch.linear(x, w)");

  @Test
  void computesWithGradients() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode grad = GradMode.on()) {
      NDArray x = manager.create(new float[] {1, 2, 3, 4}, new Shape(2, 2));
      NDArray w = manager.create(new float[] {1, 0, 0, 1, 1, 1}, new Shape(3, 2));
      w.setRequiresGradient(true);
      NDArray y = LINEAR.call(x, w);
      assertArrayEquals(new float[] {1, 2, 3, 3, 4, 7}, y.toFloatArray());
      JniUtils.backward((PtNDArray) y.sum(), (PtNDArray) manager.create(1f), false, false);
      assertArrayEquals(new float[] {4, 6, 4, 6, 4, 6}, w.getGradient().toFloatArray());
    }
  }

  @Test
  void returnsSeveralResults() {
    Kernel kernel =
        Kernel.of(
            "x: Tensor -> Tuple[Tensor, Tensor]", "return (torch.add(x, x), torch.mul(x, x))");
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList results = kernel.callMany(manager.create(new float[] {3}));
      assertEquals(2, results.size());
      assertEquals(6f, results.get(0).getFloat(0));
      assertEquals(9f, results.get(1).getFloat(0));
    }
  }

  @Test
  void runsOnManyThreads() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray w = manager.create(new float[] {2});
      w = w.reshape(1, 1);
      NDArray shared = w;
      Future<?>[] all = new Future<?>[8];
      for (int i = 0; i < all.length; i++) {
        float value = i;
        all[i] =
            pool.submit(
                () -> {
                  for (int n = 0; n < 100; n++) {
                    try (NDManager sub = manager.newSubManager()) {
                      NDArray x = sub.create(new float[] {value}, new Shape(1, 1));
                      assertEquals(2 * value, LINEAR.call(x, shared).getFloat(0, 0));
                    }
                  }
                });
      }
      for (Future<?> future : all) {
        future.get();
      }
    } finally {
      pool.shutdown();
    }
  }

  @Test
  void outlivesTheManagerOfItsFirstCall() {
    Kernel kernel = Kernel.of("x: Tensor -> Tensor", "return torch.neg(x)");
    for (int i = 0; i < 2; i++) {
      try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
        assertEquals(-3f, kernel.call(manager.create(new float[] {3})).getFloat(0));
      }
    }
  }

  @Test
  void namesTheCodeThatDoesNotCompile() {
    Kernel kernel = Kernel.of("x: Tensor -> Tensor", "return torch.no_such_operator(x)");
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray x = manager.create(1f);
      PeftException e = assertThrows(PeftException.class, () -> kernel.call(x));
      assertTrue(e.getMessage().contains("no_such_operator"), e.getMessage());
    }
  }

  @Test
  void gradModeIsPutBack() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      boolean before = JniUtils.isGradMode();
      try (GradMode on = GradMode.on()) {
        try (GradMode off = GradMode.off()) {
          assertFalse(JniUtils.isGradMode());
        }
        assertTrue(JniUtils.isGradMode());
      }
      assertEquals(before, JniUtils.isGradMode());
    }
  }
}
