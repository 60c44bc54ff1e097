package io.peft4j.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.pytorch.engine.PtNDArray;
import ai.djl.pytorch.jni.JniUtils;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.torch.GradMode;
import org.junit.jupiter.api.Test;

final class LossesTest {
  @Test
  void equalThoseOfTorchAndTransformers() {
    for (JsonNode one : Golden.read("losses")) {
      try (NDManager manager = NDManager.newBaseManager("PyTorch");
          GradMode on = GradMode.on()) {
        Shape shape = new Shape(Golden.longs(one.get("shape")));
        String kind = one.get("kind").asText();
        boolean tokens = kind.equals("tokens");
        Loss loss =
            switch (kind) {
              case "classes" -> Losses.crossEntropy();
              case "tokens" -> Losses.causalLanguageModel();
              case "token classes" -> Losses.tokenClassification();
              default -> Losses.questionAnswering();
            };
        NDArray logits = manager.create(Golden.floats(one.get("logits")), shape);
        logits.setRequiresGradient(true);
        NDArray labels =
            manager.create(Golden.longs(one.get("labels")), shape.slice(0, shape.dimension() - 1));

        NDList outputs = new NDList(logits);
        NDList targets = new NDList(labels);
        if (kind.equals("answers")) {
          outputs = new NDList(logits.get(0), logits.get(1));
          targets = new NDList(labels.get(0), labels.get(1));
        }
        NDArray value = loss.compute(outputs, targets);
        JniUtils.backward((PtNDArray) value, (PtNDArray) manager.create(1f), false, false);

        assertEquals(one.get("loss").asDouble(), value.getFloat(), 1e-6);
        assertArrayEquals(
            Golden.floats(one.get("gradient")), logits.getGradient().toFloatArray(), 1e-6f);
        long items = kind.equals("answers") ? shape.get(1) : items(one, tokens);
        assertEquals(items, loss.items(targets));
      }
    }
  }

  private static long items(JsonNode one, boolean tokens) {
    long length = tokens ? one.get("shape").get(1).asLong() : Long.MAX_VALUE;
    long items = 0;
    for (int i = 0; i < one.get("labels").size(); i++) {
      boolean first = tokens && i % length == 0;
      items += !first && one.get("labels").get(i).asLong() != Losses.IGNORED ? 1 : 0;
    }
    return items;
  }

  @Test
  void refuseLabelsThatDoNotFit() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList logits = new NDList(manager.zeros(new Shape(2, 3)));
      assertMessage("int64", logits, new NDList(manager.create(new int[] {1, 2})));
      assertMessage("missing", logits, new NDList());
      assertMessage("do not fit", logits, new NDList(manager.create(new long[] {1, 2, 0})));
      assertMessage("one was 3", logits, new NDList(manager.create(new long[] {1, 3})));
      assertMessage("one was -1", logits, new NDList(manager.create(new long[] {-1, 2})));
    }
  }

  @Test
  void refusePositionsThatDoNotFit() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray logits = manager.zeros(new Shape(2, 3));
      NDArray positions = manager.create(new long[] {1, 2});
      NDArray more = manager.create(new long[] {1, 2, 0});
      NDList both = new NDList(logits, logits);
      assertRefused("were []", both, new NDList());
      assertRefused("were [int64 (2)]", both, new NDList(positions));
      assertRefused("two arrays", both, new NDList(positions, more));
      assertRefused("two arrays", both, new NDList(positions, manager.create(new int[] {1, 2})));
      assertRefused("given were [(2, 3)]", new NDList(logits), new NDList(positions, positions));
      assertRefused("given were [(2, 3), (2, 3)]", both, new NDList(more, more));
    }
  }

  private static void assertRefused(String part, NDList logits, NDList labels) {
    String message =
        assertThrows(
                InvalidConfigException.class,
                () -> Losses.questionAnswering().compute(logits, labels))
            .getMessage();
    assertTrue(message.contains(part), message);
  }

  private static void assertMessage(String part, NDList logits, NDList labels) {
    String message =
        assertThrows(
                InvalidConfigException.class, () -> Losses.crossEntropy().compute(logits, labels))
            .getMessage();
    assertTrue(message.contains(part), message);
  }
}
