package io.peft4j.models.onnx;

import io.peft4j.MalformedFileException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The sizes of a BERT encoder, told by a few of its tensors, and from them the name and shape of
 * every parameter it must have.
 */
record BertShapes(
    long vocabulary,
    long positions,
    long types,
    long hidden,
    long intermediate,
    int layers,
    boolean pooler) {

  /** Every layer has sixteen tensors, so a file with more layers than this is not a BERT. */
  private static final int MAXIMUM_LAYERS = 10_000;

  static BertShapes of(String file, Function<String, long @Nullable []> shapes, Set<String> names) {
    long[] words = matrix(file, "embeddings.word_embeddings.weight", shapes);
    long[] positions = matrix(file, "embeddings.position_embeddings.weight", shapes);
    long[] types = matrix(file, "embeddings.token_type_embeddings.weight", shapes);
    long[] up = matrix(file, "encoder.layer.0.intermediate.dense.weight", shapes);
    int layers = 0;
    while (layers < MAXIMUM_LAYERS && hasLayer(names, layers)) {
      layers++;
    }
    boolean pooler = names.contains("pooler.dense.weight") || names.contains("pooler.dense.bias");
    return new BertShapes(words[0], positions[0], types[0], words[1], up[0], layers, pooler);
  }

  /** Names to shapes, in the order of a Hugging Face {@code BertModel}. */
  Map<String, long[]> parameters() {
    Map<String, long[]> all = new LinkedHashMap<>();
    all.put("embeddings.word_embeddings.weight", new long[] {vocabulary, hidden});
    all.put("embeddings.position_embeddings.weight", new long[] {positions, hidden});
    all.put("embeddings.token_type_embeddings.weight", new long[] {types, hidden});
    norm(all, "embeddings.LayerNorm");
    for (int i = 0; i < layers; i++) {
      String layer = "encoder.layer." + i + ".";
      linear(all, layer + "attention.self.query", hidden, hidden);
      linear(all, layer + "attention.self.key", hidden, hidden);
      linear(all, layer + "attention.self.value", hidden, hidden);
      linear(all, layer + "attention.output.dense", hidden, hidden);
      norm(all, layer + "attention.output.LayerNorm");
      linear(all, layer + "intermediate.dense", intermediate, hidden);
      linear(all, layer + "output.dense", hidden, intermediate);
      norm(all, layer + "output.LayerNorm");
    }
    if (pooler) {
      linear(all, "pooler.dense", hidden, hidden);
    }
    return all;
  }

  private static boolean hasLayer(Set<String> names, int layer) {
    return names.contains("encoder.layer." + layer + ".output.dense.bias");
  }

  private static void linear(Map<String, long[]> all, String path, long out, long in) {
    all.put(path + ".weight", new long[] {out, in});
    all.put(path + ".bias", new long[] {out});
  }

  private void norm(Map<String, long[]> all, String path) {
    all.put(path + ".weight", new long[] {hidden});
    all.put(path + ".bias", new long[] {hidden});
  }

  private static long[] matrix(
      String file, String name, Function<String, long @Nullable []> shapes) {
    long[] shape = shapes.apply(name);
    if (shape == null) {
      throw new MalformedFileException(
          file + ": not an exported BERT: it has no tensor for '" + name + "'");
    }
    if (shape.length != 2 || shape[0] == 0 || shape[1] == 0) {
      throw new MalformedFileException(
          file + ": '" + name + "' should have two sizes above 0, has " + Arrays.toString(shape));
    }
    return shape;
  }
}
