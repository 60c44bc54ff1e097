package io.peft4j.models.onnx;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A BERT encoder that PyTorch exported to ONNX, given back as what it was: the parameters of a
 * Hugging Face {@code BertModel} and its {@code config.json}.
 *
 * <p>Such an export keeps embeddings, biases and norms under their own names. The weights of
 * projections it transposes to [in, out] and calls {@code onnx::MatMul_885}; what they were is told
 * by the node that multiplies with them: {@code /encoder/layer.0/attention/self/query/MatMul} takes
 * the weight of {@code encoder.layer.0.attention.self.query}. Here they are transposed back to
 * [out, in]. A prefix before {@code embeddings.word_embeddings.weight} ({@code bert.}, say) is
 * taken off all names.
 *
 * <p>Every parameter of a {@code BertModel} must be there, in float32 and of the right shape, but
 * for the pooler, which may be missing as a whole. A tensor inside the encoder or the embeddings
 * that a {@code BertModel} does not have is refused, for it would be left out of the computation.
 * The number of layers and all sizes follow from the shapes; heads, norm epsilon and activation
 * from the nodes.
 *
 * <p>Immutable and safe to share between threads; it keeps the file's memory alive.
 */
public final class BertOnnx {
  private static final String WORDS = "embeddings.word_embeddings.weight";
  private static final String NORM = "embeddings.LayerNorm.weight";
  private static final String FIRST = "encoder.layer.0.";
  private static final String NODE_END = "/MatMul";

  /** Buffers that PyTorch may export and a model makes by itself. */
  private static final Set<String> BUFFERS =
      Set.of("embeddings.position_ids", "embeddings.token_type_ids");

  private record Source(OnnxTensor tensor, boolean transposed) {
    long[] shape() {
      long[] shape = tensor.shape();
      return transposed ? new long[] {shape[1], shape[0]} : shape;
    }
  }

  private final String file;
  private final Map<String, Source> sources;
  private final ObjectNode config;
  private final boolean pooler;

  private BertOnnx(String file, Map<String, Source> sources, ObjectNode config, boolean pooler) {
    this.file = file;
    this.sources = sources;
    this.config = config;
    this.pooler = pooler;
  }

  /**
   * Reads a BERT encoder whose graph tells the number of heads.
   *
   * @param weights the file
   * @return the encoder
   * @throws MalformedFileException if the file is not such an export, or does not tell
   */
  public static BertOnnx of(OnnxWeights weights) {
    return of(weights, 0);
  }

  /**
   * Reads a BERT encoder whose number of heads is given.
   *
   * @param weights the file
   * @param heads the number of attention heads, a divisor of the hidden size; 0 to find it in the
   *     graph
   * @return the encoder
   * @throws MalformedFileException if the file is not such an export
   * @throws InvalidConfigException if the number of heads does not divide the hidden size
   */
  public static BertOnnx of(OnnxWeights weights, int heads) {
    String prefix = prefix(weights);
    Map<String, Source> found = new LinkedHashMap<>();
    weights
        .initializers()
        .forEach(
            (name, tensor) -> {
              if (name.startsWith(prefix)) {
                found.put(name.substring(prefix.length()), new Source(tensor, false));
              }
            });
    addProjections(weights, prefix, found);
    found.keySet().removeAll(BUFFERS);

    String file = weights.source();
    BertShapes shapes = BertShapes.of(file, name -> shape(found.get(name)), found.keySet());
    Map<String, Source> sources = new LinkedHashMap<>();
    shapes
        .parameters()
        .forEach((name, shape) -> sources.put(name, check(file, name, shape, found.get(name))));
    for (String name : found.keySet()) {
      if (name.matches("(embeddings|encoder|pooler)\\..*") && !sources.containsKey(name)) {
        throw new MalformedFileException(
            file + ": has the tensor '" + name + "', which a BertModel does not have");
      }
    }
    ObjectNode config = config(weights, prefix, shapes, heads);
    return new BertOnnx(file, Collections.unmodifiableMap(sources), config, shapes.pooler());
  }

  /**
   * The configuration, as Hugging Face's {@code config.json} has it. The dropouts are BERT's usual
   * 0.1, the padding token 0: an exported graph does not tell them.
   *
   * @return a copy
   */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /**
   * Whether the pooler's weights are there.
   *
   * @return true if {@code pooler.dense.weight} and its bias can be read
   */
  public boolean hasPooler() {
    return pooler;
  }

  /**
   * The names of all parameters, in the order of a {@code BertModel}: embeddings, layers, pooler.
   *
   * @return an unmodifiable set
   */
  public Set<String> names() {
    return sources.keySet();
  }

  /**
   * The shape of a parameter, without reading it.
   *
   * @param name one of {@link #names()}
   * @return the sizes, outermost first; [out, in] for a projection's weight
   * @throws MalformedFileException if the file does not have it
   */
  public long[] shape(String name) {
    return source(name).shape();
  }

  /**
   * Copies a parameter out of the file, transposed if need be.
   *
   * @param name one of {@link #names()}
   * @return a new tensor, which owns its memory
   * @throws MalformedFileException if the file does not have it
   */
  public NamedTensor tensor(String name) {
    Source source = source(name);
    ByteBuffer data = source.tensor().data();
    ByteBuffer copy = ByteBuffer.allocateDirect(data.remaining()).order(ByteOrder.LITTLE_ENDIAN);
    if (source.transposed()) {
      transpose(data.asFloatBuffer(), source.shape(), copy.asFloatBuffer());
    } else {
      copy.put(data).flip();
    }
    return new NamedTensor(name, source.shape(), copy);
  }

  /**
   * Copies all parameters out of the file.
   *
   * @return a new tensor for each of {@link #names()}, in that order
   */
  public List<NamedTensor> tensors() {
    return sources.keySet().stream().map(this::tensor).toList();
  }

  private Source source(String name) {
    Source source = sources.get(name);
    if (source == null) {
      throw new MalformedFileException(file + ": has no parameter '" + name + "'");
    }
    return source;
  }

  private static String prefix(OnnxWeights weights) {
    for (String name : weights.initializers().keySet()) {
      if (name.endsWith(WORDS)) {
        String prefix = name.substring(0, name.length() - WORDS.length());
        if (prefix.isEmpty() || prefix.endsWith(".")) {
          return prefix;
        }
      }
    }
    throw new MalformedFileException(
        weights.source() + ": not an exported BERT: it has no initializer '" + WORDS + "'");
  }

  private static void addProjections(
      OnnxWeights weights, String prefix, Map<String, Source> found) {
    for (OnnxNode node : weights.nodes()) {
      if (!node.operator().equals("MatMul")
          || !node.name().endsWith(NODE_END)
          || node.inputs().size() != 2) {
        continue;
      }
      OnnxTensor weight = weights.initializers().get(node.inputs().get(1));
      if (weight == null || weight.shape().length != 2) {
        continue;
      }
      String module = node.name().substring(0, node.name().length() - NODE_END.length());
      String path = (module.startsWith("/") ? module.substring(1) : module).replace('/', '.');
      String name = (path.startsWith(prefix) ? path.substring(prefix.length()) : path) + ".weight";
      Source other = found.put(name, new Source(weight, true));
      if (other != null && (other.transposed() || other.tensor() != weight)) {
        throw new MalformedFileException(weights.source() + ": has two tensors for '" + name + "'");
      }
    }
  }

  private static long @Nullable [] shape(@Nullable Source source) {
    return source == null ? null : source.shape();
  }

  private static Source check(String file, String name, long[] shape, @Nullable Source source) {
    if (source == null) {
      throw new MalformedFileException(
          file
              + ": the weight '"
              + name
              + "' is missing. It should be an initializer of that name,"
              + " or the second input of a MatMul node that is named after the module");
    }
    if (source.tensor().type() != OnnxType.FLOAT) {
      throw new MalformedFileException(
          file + ": '" + name + "' is " + source.tensor().type() + "; allowed is FLOAT");
    }
    if (!Arrays.equals(shape, source.shape())) {
      throw new MalformedFileException(
          file
              + ": '"
              + name
              + "' should have the shape "
              + Arrays.toString(shape)
              + ", has "
              + Arrays.toString(source.shape()));
    }
    return source;
  }

  private static ObjectNode config(
      OnnxWeights weights, String prefix, BertShapes shapes, int givenHeads) {
    BertGraph graph = new BertGraph(weights);
    String file = weights.source();
    long hidden = shapes.hidden();
    if (givenHeads < 0 || (givenHeads > 0 && hidden % givenHeads != 0)) {
      throw new InvalidConfigException(
          "the number of heads should divide the hidden size " + hidden + ", is " + givenHeads);
    }
    int heads =
        givenHeads > 0
            ? givenHeads
            : graph
                .heads(prefix + FIRST + "attention.self.query.bias", hidden)
                .orElseThrow(() -> untold(file, "the number of attention heads; give it"));
    double epsilon =
        graph
            .normEpsilon(prefix + NORM)
            .orElseThrow(() -> untold(file, "the epsilon of the layer norms"));
    if (!graph.exactGelu(prefix + FIRST + "intermediate.dense.bias")) {
      throw untold(file, "that the activation is the exact GELU, the only one read here");
    }
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    config.putArray("architectures").add("BertModel");
    config.put("attention_probs_dropout_prob", 0.1);
    config.put("hidden_act", "gelu");
    config.put("hidden_dropout_prob", 0.1);
    config.put("hidden_size", hidden);
    config.put("initializer_range", 0.02);
    config.put("intermediate_size", shapes.intermediate());
    config.put("layer_norm_eps", epsilon);
    config.put("max_position_embeddings", shapes.positions());
    config.put("model_type", "bert");
    config.put("num_attention_heads", heads);
    config.put("num_hidden_layers", shapes.layers());
    config.put("pad_token_id", 0);
    config.put("position_embedding_type", "absolute");
    config.put("type_vocab_size", shapes.types());
    config.put("vocab_size", shapes.vocabulary());
    return config;
  }

  private static MalformedFileException untold(String file, String what) {
    return new MalformedFileException(file + ": the graph's nodes do not tell " + what);
  }

  private static void transpose(FloatBuffer from, long[] shape, FloatBuffer to) {
    int rows = (int) shape[0];
    int columns = (int) shape[1];
    float[] values = new float[from.remaining()];
    from.get(values);
    float[] row = new float[columns];
    for (int r = 0; r < rows; r++) {
      for (int c = 0; c < columns; c++) {
        row[c] = values[c * rows + r];
      }
      to.put(row);
    }
  }
}
