package io.peft4j.onnx;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.onnx.graph.AdapterInputs;
import io.peft4j.spi.Adapter;
import io.peft4j.state.AdapterState;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.GradMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * A LoRA adapter in the form that ONNX Runtime takes while a graph runs: for each layer Aᵀ [in,
 * rank] and s·Bᵀ [rank, out], the scaling s (alpha, rank-stabilised or not, patterns included)
 * multiplied in, under the names of {@link AdapterInputs}. Files end in {@code .onnx_adapter};
 * {@code AdapterBytes} says what is in them. Immutable.
 *
 * <pre>{@code
 * OnnxAdapter.of(model, "style").write(Path.of("style.onnx_adapter"));
 * }</pre>
 */
public final class OnnxAdapter {
  private final Map<String, AdapterTensor> tensors;

  private OnnxAdapter(Map<String, AdapterTensor> tensors) {
    this.tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
  }

  static OnnxAdapter of(Map<String, AdapterTensor> tensors) {
    return new OnnxAdapter(tensors);
  }

  /**
   * Takes an adapter of a model. One that began with part of the base's weights (PiSSA, OLoRA)
   * counts as what it is saved as, plain LoRA of twice the rank.
   *
   * @param model the model
   * @param name the adapter
   * @return the adapter, copied
   * @throws io.peft4j.AdapterStateException if there is none of that name
   * @throws InvalidConfigException if it is not LoRA, or has what is no product at a linear layer:
   *     DoRA, trained biases, embeddings, tokens or whole modules
   */
  public static OnnxAdapter of(PeftModel model, String name) {
    Adapter adapter = model.adapter(name);
    if (!(adapter.config() instanceof LoraConfig)) {
      throw new InvalidConfigException(
          "only LoRA adapters act as inputs of a graph; '"
              + name
              + "' is of type "
              + adapter.config().peftType()
              + ": export it merged");
    }
    adapter.retain();
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      AdapterState state = adapter.state();
      LoraConfig config = LoraConfig.fromJson(state.config());
      Map<String, NDArray> rest = new TreeMap<>(state.tensors());
      Map<String, AdapterTensor> tensors = new LinkedHashMap<>();
      for (LayerSpec layer : model.layout().layers()) {
        if (isLinear(layer)) {
          take(layer, config, rest, tensors);
        }
      }
      if (config.useDora() || !rest.isEmpty()) {
        throw new InvalidConfigException(
            "adapter '"
                + name
                + "' cannot act as inputs of a graph, which are products B·A at linear layers: it"
                + " has "
                + (config.useDora() ? "use_dora" : String.join(", ", shown(rest)))
                + ". Export it merged");
      }
      return new OnnxAdapter(tensors);
    } finally {
      adapter.release();
    }
  }

  private static List<String> shown(Map<String, NDArray> rest) {
    return rest.keySet().stream().limit(3).toList();
  }

  static boolean isLinear(LayerSpec layer) {
    return layer.kind() == LayerKind.LINEAR || layer.kind() == LayerKind.LINEAR_TRANSPOSED;
  }

  private static void take(
      LayerSpec layer,
      LoraConfig config,
      Map<String, NDArray> from,
      Map<String, AdapterTensor> into) {
    NDArray a = from.remove(PeftDirectory.PREFIX + AdapterInputs.a(layer.path()));
    NDArray b = from.remove(PeftDirectory.PREFIX + AdapterInputs.b(layer.path()));
    if (a == null || b == null) {
      return;
    }
    double scaling = config.scaling(layer.path(), a.getShape().get(0));
    into.put(AdapterInputs.a(layer.path()), turned(a, 1));
    into.put(AdapterInputs.b(layer.path()), turned(b, (float) scaling));
  }

  private static AdapterTensor turned(NDArray matrix, float factor) {
    int rows = Math.toIntExact(matrix.getShape().get(0));
    int columns = Math.toIntExact(matrix.getShape().get(1));
    float[] given = matrix.toFloatArray();
    float[] values = new float[given.length];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        values[column * rows + row] = given[row * columns + column] * factor;
      }
    }
    return new AdapterTensor(new long[] {columns, rows}, values);
  }

  /**
   * Reads a file, of this library or of Olive's converter.
   *
   * @param file the file
   * @return the adapter, in float32
   * @throws MalformedFileException if it is damaged, or has tensors that are not float32, float16
   *     or bfloat16 matrices
   */
  public static OnnxAdapter read(Path file) {
    try (FileChannel channel = FileChannel.open(file)) {
      if (channel.size() > Integer.MAX_VALUE) {
        throw new MalformedFileException(
            file + ": an ONNX adapter has at most 2 GiB; this has " + channel.size() + " bytes");
      }
      ByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
      Map<String, AdapterTensor> tensors = new LinkedHashMap<>();
      // Olive keeps PEFT's prefix where a model does not begin with "model".
      AdapterBytes.read(bytes, file.toString())
          .forEach(
              (name, tensor) ->
                  tensors.put(
                      name.startsWith(PeftDirectory.PREFIX)
                          ? name.substring(PeftDirectory.PREFIX.length())
                          : name,
                      tensor));
      return new OnnxAdapter(tensors);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  /**
   * Writes a file, which appears whole or not at all.
   *
   * @param file the file
   * @throws io.peft4j.PeftException if it cannot be written
   */
  public void write(Path file) {
    AtomicFiles.writeBytes(file, toBytes());
  }

  byte[] toBytes() {
    return AdapterBytes.write(tensors);
  }

  /**
   * The shapes of the tensors.
   *
   * @return name to two sizes: [in, rank] or [rank, out]
   */
  public Map<String, List<Long>> shapes() {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    tensors.forEach(
        (name, tensor) -> shapes.put(name, List.of(tensor.shape()[0], tensor.shape()[1])));
    return shapes;
  }

  /**
   * The values of a tensor.
   *
   * @param name one of the names of {@link #shapes}
   * @return a copy, row by row
   * @throws InvalidConfigException if there is none of that name
   */
  public float[] values(String name) {
    AdapterTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new InvalidConfigException(
          "the adapter has no tensor '" + name + "'; it has " + new TreeSet<>(tensors.keySet()));
    }
    return tensor.values().clone();
  }

  /** Lists what keeps this from being an adapter for such inputs, name to sizes, -1 for any. */
  List<String> differences(Map<String, long[]> inputs) {
    List<String> differences = new ArrayList<>();
    for (Map.Entry<String, AdapterTensor> entry : tensors.entrySet()) {
      long[] wanted = inputs.get(entry.getKey());
      long[] shape = entry.getValue().shape();
      if (wanted == null) {
        differences.add("the graph has no input " + entry.getKey());
      } else if ((wanted[0] >= 0 && wanted[0] != shape[0])
          || (wanted[1] >= 0 && wanted[1] != shape[1])) {
        differences.add(
            entry.getKey()
                + " is "
                + List.of(shape[0], shape[1])
                + " where the graph takes "
                + List.of(wanted[0], wanted[1]));
      }
      String other = counterpart(entry.getKey());
      AdapterTensor pair = tensors.get(other);
      if (pair == null) {
        differences.add(entry.getKey() + " comes without " + other);
      } else if (entry.getKey().compareTo(other) < 0 && shape[1] != pair.shape()[0]) {
        differences.add(entry.getKey() + " and " + other + " differ in their ranks");
      }
    }
    return differences;
  }

  private static String counterpart(String name) {
    return name.contains(".lora_A.")
        ? name.replace(".lora_A.", ".lora_B.")
        : name.replace(".lora_B.", ".lora_A.");
  }
}
