package io.peft4j.models.gguf;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.models.gguf.Architecture.Bias;
import io.peft4j.models.gguf.Architecture.Change;
import io.peft4j.models.gguf.Architecture.Part;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.HalfWeight;
import io.peft4j.nn.Weight;
import io.peft4j.state.TensorType;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * A GGUF file as Hugging Face would have the model: the keys of {@code config.json}, the names and
 * layouts of transformers, and tokenizer files.
 *
 * <p>Read are the architectures llama (with SmolLM and Mistral), qwen2, qwen3, gemma2, gemma3 (its
 * text part), phi3 and gpt2. What llama.cpp has changed in the weights is undone:
 *
 * <ul>
 *   <li>llama: the rows of queries and keys are put back in order, see {@link Arrangement.Rotary};
 *   <li>gemma2, gemma3: norms are stored as 1 + weight;
 *   <li>gpt2: all matrices of a layer are turned;
 *   <li>a file without {@code output.weight} has tied embeddings;
 *   <li>{@code rope_freqs.weight} and {@code rope_factors_*.weight} become {@code rope_scaling}.
 * </ul>
 *
 * <p>Any number of threads may read at once. The caller closes the model; arrays stay valid.
 */
public final class GgufModel implements AutoCloseable {
  /** What is told by the configuration, or made by the model itself. */
  private static final Pattern SKIPPED =
      Pattern.compile(
          "rope_freqs\\.weight|rope_factors_(long|short)\\.weight"
              + "|blk\\.[0-9]+\\.attn_rot_embd(\\.weight)?");

  private static final int SHOWN = 5;

  private final GgufFile file;
  private final ObjectNode config;
  private final Map<String, Parameter> parameters;
  private final Optional<GgufTokenizer> tokenizer;

  /**
   * A parameter and what it is made of.
   *
   * @param tensor the tensor in the file
   * @param arrangement how its values become the parameter's
   */
  public record Parameter(GgufTensor tensor, Arrangement arrangement) {

    /**
     * The parameter's shape.
     *
     * @return the shape at Hugging Face
     */
    public Shape shape() {
      return arrangement.shape(tensor.shape());
    }
  }

  private GgufModel(GgufFile file) {
    this.file = file;
    Architecture architecture = Architecture.of(file);
    long split = file.metadata().integer("split.count").orElse(0);
    if (split > 1) {
      throw new MalformedFileException(
          file.file()
              + ": is one of "
              + split
              + " parts; put them together with llama.cpp's gguf-split --merge first");
    }
    Set<String> missing = new LinkedHashSet<>();
    for (Part part : architecture.whole()) {
      if (part.required() && !file.tensors().containsKey(part.stored() + ".weight")) {
        missing.add(part.stored() + ".weight");
      }
    }
    refuseMissing(missing);
    checkEmbedding();
    config = ConfigReader.read(file, architecture);
    parameters = Collections.unmodifiableMap(parameters(architecture));
    tokenizer = GgufTokenizer.of(file);
  }

  /**
   * Opens a file and checks that it is a whole model.
   *
   * @param file a GGUF file; it need not be writable
   * @return the open model; the caller closes it
   * @throws MalformedFileException if the file is missing or damaged, lacks tensors or has others,
   *     or its tokenizer has more tokens than the embedding has rows
   * @throws io.peft4j.InvalidConfigException if the architecture, or what the metadata asks for, is
   *     not implemented
   */
  public static GgufModel open(Path file) {
    GgufFile opened = GgufFile.open(file);
    try {
      return new GgufModel(opened);
    } catch (RuntimeException | Error e) {
      opened.close();
      throw e;
    }
  }

  private void checkEmbedding() {
    GgufTensor embedding = file.tensor("token_embd.weight");
    if (embedding.shape().dimension() != 2) {
      throw new MalformedFileException(
          file.file() + ": token_embd.weight must have two dimensions; it is " + embedding.shape());
    }
  }

  private void refuseMissing(Set<String> missing) {
    if (!missing.isEmpty()) {
      throw new MalformedFileException(file.file() + ": tensors are missing: " + list(missing));
    }
  }

  private static String list(Set<String> names) {
    List<String> shown = names.stream().limit(SHOWN).map(Quotes::quote).toList();
    int more = names.size() - shown.size();
    return String.join(", ", shown) + (more > 0 ? " and " + more + " more" : "");
  }

  private Map<String, Parameter> parameters(Architecture architecture) {
    Map<String, Parameter> found = new LinkedHashMap<>();
    Set<String> missing = new LinkedHashSet<>();
    Set<String> surplus = new LinkedHashSet<>(file.tensors().keySet());
    surplus.removeIf(name -> SKIPPED.matcher(name).matches());
    for (Part part : architecture.whole()) {
      add(part, "", "", found, missing, surplus);
    }
    String layers = config.has("n_layer") ? "n_layer" : "num_hidden_layers";
    for (int layer = 0; layer < config.get(layers).intValue(); layer++) {
      String to = architecture.layerPrefix() + layer + ".";
      for (Part part : architecture.layer()) {
        add(part, "blk." + layer + ".", to, found, missing, surplus);
      }
    }
    refuseMissing(missing);
    if (!surplus.isEmpty()) {
      throw new MalformedFileException(
          file.file()
              + ": tensors are not the model's (architecture "
              + architecture.name()
              + "): "
              + list(surplus));
    }
    return found;
  }

  private void add(
      Part part,
      String from,
      String to,
      Map<String, Parameter> found,
      Set<String> missing,
      Set<String> surplus) {
    List<String> endings = new ArrayList<>(List.of(".weight"));
    if (part.bias() != Bias.NEVER) {
      endings.add(".bias");
    }
    for (String ending : endings) {
      String stored = from + part.stored() + ending;
      boolean weight = ending.equals(".weight");
      GgufTensor tensor = file.tensors().get(stored);
      if (tensor == null) {
        if (weight ? part.required() : part.bias() == Bias.ALWAYS) {
          missing.add(stored);
        }
        continue;
      }
      surplus.remove(stored);
      found.put(
          to + part.target() + ending,
          new Parameter(tensor, arrangement(tensor, part.change(), weight)));
    }
  }

  private Arrangement arrangement(GgufTensor tensor, Change change, boolean weight) {
    return switch (change) {
      case NONE -> Arrangement.AS_STORED;
      case MINUS_ONE -> weight ? Arrangement.MINUS_ONE : Arrangement.AS_STORED;
      case TRANSPOSED -> {
        if (!weight) {
          yield Arrangement.AS_STORED;
        }
        checkDimensions(tensor, 2);
        yield Arrangement.TRANSPOSED;
      }
      case QUERY_ROWS, KEY_ROWS -> {
        checkDimensions(tensor, weight ? 2 : 1);
        String key = change == Change.KEY_ROWS ? "num_key_value_heads" : "num_attention_heads";
        long heads = config.get(key).longValue();
        long rows = tensor.shape().get(0);
        if (rows % (2 * heads) != 0) {
          throw new MalformedFileException(
              file.file()
                  + ": tensor "
                  + Quotes.quote(tensor.name())
                  + " has "
                  + rows
                  + " rows, which are not "
                  + heads
                  + " heads of an even size");
        }
        yield new Arrangement.Rotary(heads);
      }
    };
  }

  private void checkDimensions(GgufTensor tensor, int dimensions) {
    if (tensor.shape().dimension() != dimensions) {
      throw new MalformedFileException(
          file.file()
              + ": tensor "
              + Quotes.quote(tensor.name())
              + " must have "
              + dimensions
              + " dimension(s); it is "
              + tensor.shape());
    }
  }

  /**
   * The file underneath, with metadata and packed tensors.
   *
   * @return the file; closed with this model
   */
  public GgufFile file() {
    return file;
  }

  /**
   * The configuration.
   *
   * @return a copy of the keys of {@code config.json}, as transformers 4 and 5 read them
   */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /**
   * The names of all parameters.
   *
   * @return Hugging Face's names; cannot be modified
   */
  public Set<String> names() {
    return parameters.keySet();
  }

  /**
   * What a parameter is made of.
   *
   * @param name Hugging Face's name
   * @return tensor and arrangement
   * @throws MalformedFileException if there is no such parameter
   */
  public Parameter parameter(String name) {
    Parameter parameter = parameters.get(name);
    if (parameter == null) {
      throw new MalformedFileException(file.file() + ": has no parameter " + Quotes.quote(name));
    }
    return parameter;
  }

  /**
   * The shape of a parameter.
   *
   * @param name Hugging Face's name
   * @return the shape at Hugging Face
   * @throws MalformedFileException if there is no such parameter
   */
  public Shape shape(String name) {
    return parameter(name).shape();
  }

  /**
   * The values of a parameter.
   *
   * @param manager owns the array, a manager of the PyTorch engine; the caller closes it
   * @param name Hugging Face's name
   * @return float32 array in memory of its own
   * @throws MalformedFileException if there is no such parameter
   * @throws io.peft4j.AdapterStateException if the model is closed
   */
  public NDArray float32(NDManager manager, String name) {
    Parameter parameter = parameter(name);
    return file.float32(manager, parameter.tensor().name(), parameter.arrangement());
  }

  /**
   * A parameter as a weight that is held as it is stored, if it is a matrix; what is few values is
   * held in float32.
   *
   * @param name Hugging Face's name
   * @param precision what products are computed in; empty if it is chosen by what this CPU does
   *     fast, FLOAT32 if quantized values are to be exact in every product, for which they are
   *     unpacked at once
   * @return the weight, on the CPU; the caller closes it
   * @throws MalformedFileException if there is no such parameter
   * @throws io.peft4j.AdapterStateException if the model is closed
   */
  public Weight weight(String name, Optional<Precision> precision) {
    Parameter parameter = parameter(name);
    GgufType type = parameter.tensor().type();
    boolean matrix = parameter.shape().dimension() == 2;
    Precision chosen =
        precision.orElseGet(() -> type == GgufType.F32 ? Precision.FLOAT32 : Precision.fastest());
    boolean packed = type.blockSize() > 1 && parameter.arrangement().keepsRows();
    boolean exact = precision.isPresent() && chosen == Precision.FLOAT32;
    if (matrix && packed && !exact) {
      return new GgufWeight(file.share(), parameter, chosen);
    }
    if (matrix && (type == GgufType.F16 || type == GgufType.BF16)) {
      return new HalfWeight(
          Scopes.unmanaged(
              Device.cpu(),
              manager -> {
                NDArray values = float32(manager, name);
                return type == GgufType.F16 ? Ops.toFloat16(values) : Ops.toBfloat16(values);
              }),
          type == GgufType.F16 ? TensorType.F16 : TensorType.BF16,
          chosen);
    }
    return DenseWeight.owning(
        Scopes.unmanaged(Device.cpu(), manager -> float32(manager, name)), chosen);
  }

  /** Adds the tensors that are no parameters to a file, in float32. */
  void addOthers(GgufWriter writer) {
    for (GgufTensor tensor : file.tensors().values()) {
      if (SKIPPED.matcher(tensor.name()).matches()) {
        writer.tensor(
            tensor.name(),
            GgufType.F32,
            tensor.shape(),
            (first, count) -> {
              try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch")) {
                long width = tensor.rowLength();
                float[] all = file.float32(manager, tensor.name()).toFloatArray();
                return Arrays.copyOfRange(
                    all, (int) (first * width), (int) ((first + count) * width));
              }
            });
      }
    }
  }

  /**
   * The tokenizer that is in the file.
   *
   * @return the tokenizer's files; empty if there is none in this file
   */
  public Optional<GgufTokenizer> tokenizer() {
    return tokenizer;
  }

  @Override
  public void close() {
    file.close();
  }
}
