package io.peft4j.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.onnx.BertOnnx;
import io.peft4j.models.onnx.OnnxWeights;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The real all-MiniLM-L6-v2, from its ONNX file. */
class MiniLmTest {
  @TempDir Path target;

  private static BertOnnx encoder() {
    return BertOnnx.of(
        OnnxWeights.resource(MiniLmTest.class.getClassLoader(), "all-minilm-l6-v2.onnx"));
  }

  private static NDArray embed(PretrainedModel model, NDList inputs) {
    NDArray mask = inputs.get(1).toType(DataType.FLOAT32, false).expandDims(2);
    NDArray sum = model.forward(inputs).get(0).mul(mask).sum(new int[] {1});
    NDArray norm = sum.mul(sum).sum(new int[] {1}, true).sqrt();
    return sum.div(norm);
  }

  @Test
  void sentencesThatMeanTheSameAreNear() throws Exception {
    try (InputStream json = TokenizerTest.json();
        Tokenizer tokenizer = Tokenizer.load(json);
        NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model = PretrainedModel.of(encoder(), LoadOptions.defaults())) {
      assertEquals(22_713_216, model.layout().parameterCount());
      NDList inputs =
          tokenizer.encode(
              manager,
              List.of(
                  "A man is eating food.",
                  "A man eats something.",
                  "The stock market fell sharply today."),
              64);
      NDArray embedded = embed(model, inputs);
      float[] similarity = embedded.matMul(embedded.transpose()).toFloatArray();

      assertTrue(similarity[1] > 0.7, "paraphrase: " + similarity[1]);
      assertTrue(Math.abs(similarity[2]) < 0.15, "unrelated: " + similarity[2]);

      model.save(target);
      try (PretrainedModel again = PretrainedModel.load(target)) {
        Goldens.assertSame(model.forward(inputs), again.forward(inputs));
      }
    }
  }

  @Test
  void getsAClassifier() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        PretrainedModel model =
            PretrainedModel.of(encoder(), LoadOptions.builder().classifier(6).build())) {
      NDArray ids = manager.create(new long[] {101, 7592, 102}, new Shape(1, 3));

      assertEquals("logits", model.forward(new NDList(ids)).get(0).getName());
      assertEquals(new Shape(1, 6), model.forward(new NDList(ids)).get(0).getShape());
    }
  }
}
