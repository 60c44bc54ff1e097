package io.peft4j.onnx;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.TokenDecoder;
import io.peft4j.models.generate.Generator;
import io.peft4j.models.generate.TextEngine;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * An exported model with one of its adapters, or none. Holds nothing that is to be closed. Safe for
 * use by several threads at once.
 */
public final class OrtView implements TextEngine {
  private final OrtPeftModel model;
  private final @Nullable String adapter;

  OrtView(OrtPeftModel model, @Nullable String adapter) {
    this.model = model;
    this.adapter = adapter;
  }

  /**
   * Computes the outputs of rows of tokens.
   *
   * @param rows the tokens of each row, at least one of each; shorter rows are padded, on the left
   *     where the model generates, else on the right
   * @return outputs by their names: {@code logits}, {@code last_hidden_state} and others
   * @throws InvalidInputException if there are no rows, or one has no tokens or too many
   */
  public Map<String, OrtOutput> forward(List<long[]> rows) {
    return forward(batch(rows));
  }

  /**
   * Computes the outputs of rows of equal length. Positions count from 0 at the first token or
   * padding of a row, as in a plain forward pass of transformers.
   *
   * @param ids the tokens
   * @param mask 1 for tokens and 0 for padding
   * @param types the kinds of the tokens, which only some models take
   * @return outputs by their names
   * @throws InvalidInputException if the three differ in shape, or there is nothing in them, or a
   *     row has too many tokens
   */
  public Map<String, OrtOutput> forward(long[][] ids, long[][] mask, long[][] types) {
    int length = ids.length == 0 ? 0 : ids[0].length;
    for (long[][] given : List.of(ids, mask, types)) {
      boolean equal = Arrays.stream(given).allMatch(row -> row.length == length);
      if (length == 0 || length > context() || given.length != ids.length || !equal) {
        throw new InvalidInputException(
            "ids, mask and types must be rows of the same number of tokens, from 1 to "
                + context());
      }
    }
    long[] positions = new long[ids.length * length];
    Arrays.setAll(positions, i -> i % length);
    return forward(new TokenBatch(ids.length, flat(ids), flat(mask), flat(types), positions));
  }

  private static long[] flat(long[][] rows) {
    return Arrays.stream(rows).flatMapToLong(Arrays::stream).toArray();
  }

  private Map<String, OrtOutput> forward(TokenBatch batch) {
    Map<String, OrtOutput> outputs = new LinkedHashMap<>();
    try (OrtRun run = model.begin(adapter);
        OrtSession.Result result = run.session().run(batch, null, run.adapters())) {
      for (String name : run.session().outputs()) {
        if (!name.startsWith("present.")) {
          OnnxTensor tensor = GraphSession.tensor(result, name);
          FloatBuffer buffer = tensor.getFloatBuffer();
          float[] values = new float[buffer.remaining()];
          buffer.get(values);
          outputs.put(name, new OrtOutput(tensor.getInfo().getShape(), values));
        }
      }
    }
    return outputs;
  }

  private TokenBatch batch(List<long[]> rows) {
    int longest = rows.stream().mapToInt(row -> row.length).max().orElse(0);
    if (rows.isEmpty() || rows.stream().anyMatch(row -> row.length == 0)) {
      throw new InvalidInputException("at least one row of at least one token each is needed");
    }
    if (longest > context()) {
      throw new InvalidInputException(
          "the model takes at most " + context() + " tokens in a row; given were " + longest);
    }
    int vocabulary = model.config().path("vocab_size").asInt(Integer.MAX_VALUE);
    long padding = Math.max(0, model.config().path("pad_token_id").asInt(0));
    long[] ids = new long[rows.size() * longest];
    long[] mask = new long[ids.length];
    Arrays.fill(ids, padding);
    for (int i = 0; i < rows.size(); i++) {
      long[] row = rows.get(i);
      for (long token : row) {
        if (token < 0 || token >= vocabulary) {
          throw new InvalidInputException(
              "tokens are from 0 to " + (vocabulary - 1) + "; row " + i + " has " + token);
        }
      }
      int begin = i * longest + (model.hasCache() ? longest - row.length : 0);
      System.arraycopy(row, 0, ids, begin, row.length);
      Arrays.fill(mask, begin, begin + row.length, 1);
    }
    return TokenBatch.of(rows.size(), ids, mask);
  }

  private List<long[]> tokens(List<String> texts) {
    return texts.stream().map(text -> model.tokenizer().ids(text, true)).toList();
  }

  /**
   * Classifies texts.
   *
   * @param texts at least one text
   * @return a row for each text, the probability of each class: softmax(logits)
   * @throws InvalidConfigException if the model is no classifier of texts, or has no tokenizer
   */
  public float[][] classify(List<String> texts) {
    OrtOutput logits = forward(tokens(texts)).get("logits");
    if (logits == null || logits.shape().length != 2) {
      throw new InvalidConfigException(
          "the model does not classify texts: its class is "
              + model.config().path("architectures").path(0).asText("not known"));
    }
    float[][] probabilities = rows(logits);
    for (float[] row : probabilities) {
      double largest = Double.NEGATIVE_INFINITY;
      for (float value : row) {
        largest = Math.max(largest, value);
      }
      double sum = 0;
      for (float value : row) {
        sum += Math.exp(value - largest);
      }
      for (int i = 0; i < row.length; i++) {
        row[i] = (float) (Math.exp(row[i] - largest) / sum);
      }
    }
    return probabilities;
  }

  private static float[][] rows(OrtOutput output) {
    int count = Math.toIntExact(output.shape()[0]);
    float[] values = output.values();
    int width = values.length / count;
    float[][] rows = new float[count][];
    for (int i = 0; i < count; i++) {
      rows[i] = Arrays.copyOfRange(values, i * width, (i + 1) * width);
    }
    return rows;
  }

  /**
   * Embeds texts: the mean of the hidden states of a text's tokens, of length 1.
   *
   * @param texts at least one text
   * @return a row for each text
   * @throws InvalidConfigException if the model does not give its hidden states, or has no
   *     tokenizer
   */
  public float[][] embed(List<String> texts) {
    TokenBatch batch = batch(tokens(texts));
    OrtOutput states = forward(batch).get("last_hidden_state");
    if (states == null) {
      throw new InvalidConfigException(
          "the model does not give last_hidden_state: its class is "
              + model.config().path("architectures").path(0).asText("not known"));
    }
    int width = Math.toIntExact(states.shape()[2]);
    float[][] embeddings = new float[batch.rows()][width];
    for (int i = 0; i < batch.ids().length; i++) {
      if (batch.mask()[i] == 1) {
        float[] row = embeddings[i / batch.length()];
        for (int j = 0; j < width; j++) {
          row[j] += states.value(i * width + j);
        }
      }
    }
    for (float[] row : embeddings) {
      double squares = 0;
      for (float value : row) {
        squares += (double) value * value;
      }
      float length = (float) Math.max(1e-12, Math.sqrt(squares));
      for (int j = 0; j < width; j++) {
        row[j] /= length;
      }
    }
    return embeddings;
  }

  /**
   * Generates text with this adapter, by the directory's tokenizer.
   *
   * @return a generator; the model must stay open while it is used
   * @throws InvalidConfigException if there is no tokenizer
   */
  public Generator generator() {
    return Generator.of(this, model.tokenizer());
  }

  // --- text engine ----------------------------------------------------------------------------

  @Override
  public int context() {
    return model.context();
  }

  @Override
  public ObjectNode config() {
    return model.config();
  }

  @Override
  public Optional<Path> directory() {
    return Optional.of(model.directory());
  }

  @Override
  public TokenDecoder start(List<long[]> prompts, int copies, int room) {
    if (!model.hasCache()) {
      throw new InvalidInputException(
          "the graph has no cache of keys and values, and so generates no text");
    }
    return OrtDecoder.start(model.begin(adapter), prompts, copies, context(), model.textLength());
  }
}
