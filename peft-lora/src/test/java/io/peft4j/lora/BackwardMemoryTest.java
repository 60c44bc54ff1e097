package io.peft4j.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.ForwardMode;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TrainableParameter;
import io.peft4j.models.PretrainedModel;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What a backward pass needs is the engine's own memory: it stays while Java collects its garbage.
 */
final class BackwardMemoryTest {
  /** Passes at once: freed memory of one size goes to a small store of another thread first. */
  private static final int PASSES = 24;

  private static final long[] IDS = {0, 0, 0, 0, 9, 8, 7, 6, 5, 42, 11, 12, 13, 14, 15, 16};
  private static final long[] MASK = {0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

  @ParameterizedTest
  @CsvSource({"llama, q_proj v_proj", "bert-classifier, query value"})
  void garbageCollectionChangesNoGradient(String name, String targets) throws Exception {
    LoraConfig config =
        LoraConfig.builder()
            .rank(4)
            .targetModules(targets.split(" "))
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    try (PretrainedModel base = Golden.model(name);
        PeftModel model = Peft.wrap(base, config)) {
      Map<String, float[]> expected = gradients(model, false);
      Map<String, float[]> actual = gradients(model, true);

      assertEquals(expected.keySet(), actual.keySet());
      expected.forEach(
          (key, values) -> {
            assertArrayEquals(values, actual.get(key), key);
            double sum = 0;
            for (float value : values) {
              sum += Math.abs(value);
            }
            assertTrue(sum > 0, key + " has no gradient");
          });
    }
  }

  /** The sum of the gradients of several equal passes whose graphs live at the same time. */
  private static Map<String, float[]> gradients(PeftModel model, boolean disturbed)
      throws InterruptedException {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      List<NDArray> losses = new ArrayList<>();
      for (int i = 0; i < PASSES; i++) {
        losses.add(Scopes.unmanaged(loss(model)));
      }
      if (disturbed) {
        disturb();
      }
      for (NDArray loss : losses) {
        JniUtils.backward((PtNDArray) loss, (PtNDArray) manager.ones(new Shape()), false, false);
        loss.close();
      }
      Map<String, float[]> gradients = new TreeMap<>();
      for (TrainableParameter parameter : model.trainableParameters()) {
        PtNDArray array = (PtNDArray) parameter.array();
        try (NDArray gradient = JniUtils.getGradient(array)) {
          gradients.put(parameter.name(), gradient.toFloatArray());
        }
        JniUtils.zeroGrad(array);
      }
      return gradients;
    }
  }

  /** Everything that Java holds of the pass is closed but its result. */
  private static NDArray loss(PeftModel model) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        NDScope scope = new NDScope();
        GradMode on = GradMode.on()) {
      scope.suppressNotUsedWarning();
      Shape shape = new Shape(1, IDS.length);
      NDList inputs = new NDList(manager.create(IDS, shape), manager.create(MASK, shape));
      NDArray output = model.forward(inputs, ForwardMode.TRAINING_WITHOUT_DROPOUT).head();
      return Scopes.unmanaged(Ops.scale(output.mul(output).mean(), 0.5f));
    }
  }

  @Test
  void garbageCollectionChangesNoFactor() throws Exception {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        GradMode on = GradMode.on()) {
      NDArray x = manager.ones(new Shape(3));
      x.setRequiresGradient(true);
      List<NDArray> scaled = new ArrayList<>();
      for (int i = 0; i < PASSES; i++) {
        scaled.add(Scopes.keepResult(() -> Ops.scale(x, 3)));
      }
      disturb();
      for (NDArray y : scaled) {
        JniUtils.backward((PtNDArray) y, (PtNDArray) manager.ones(new Shape(3)), false, false);
      }
      float all = 3 * PASSES;
      assertArrayEquals(new float[] {all, all, all}, x.getGradient().toFloatArray());
    }
  }

  /** Lets memory that Java no longer holds be freed, and used for something else. */
  private static void disturb() throws InterruptedException {
    List<ByteBuffer> held = new ArrayList<>();
    for (int round = 0; round < 3; round++) {
      System.gc();
      // A thread of the JVM's own frees what the collector has found.
      Thread.sleep(50);
      for (int size = 1; size <= 512; size += size < 64 ? 3 : 16) {
        for (int copy = 0; copy < 4 * PASSES; copy++) {
          ByteBuffer buffer = ByteBuffer.allocateDirect(size);
          for (int i = 0; i < size; i++) {
            buffer.put(i, (byte) 0x7F);
          }
          held.add(buffer);
        }
      }
    }
  }
}
