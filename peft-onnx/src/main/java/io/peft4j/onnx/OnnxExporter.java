package io.peft4j.onnx;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.MergeReport;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.models.Network;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.onnx.graph.OnnxFile;
import io.peft4j.onnx.graph.OnnxModelGraph;
import io.peft4j.onnx.graph.StoredWeights;
import io.peft4j.onnx.graph.WeightFormat;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Json;
import io.peft4j.state.NewDirectory;
import io.peft4j.target.LayerSpec;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Exports models to ONNX: a directory with {@code model.onnx}, perhaps {@value OnnxFile#DATA} with
 * its weights, {@code config.json}, and the files of tokenizer and generation.
 *
 * <p>Each export is run in ONNX Runtime and compared with the model; one beyond the tolerance
 * leaves nothing behind. What was compared stands in the graph's metadata, under keys that begin
 * with {@code peft4j.}. Models should be loaded with {@link io.peft4j.torch.Precision#FLOAT32}:
 * what others compute is too far from float32. Immutable.
 *
 * <pre>{@code
 * OnnxExporter.defaults().export(model, AdapterSet.of("style"), Path.of("style-onnx"));
 * OnnxExporter.builder().adapterLayers("q_proj", "v_proj").build().export(base, Path.of("base-onnx"));
 * }</pre>
 */
public final class OnnxExporter {
  /** Name of the graph in its directory. */
  public static final String MODEL = "model.onnx";

  static final String CONTEXT = "peft4j.context";
  static final String IN_ONE_PASS = "peft4j.in_one_pass";
  static final String SWITCHES_AFTER = "peft4j.switches_after";
  static final String ADAPTER_LAYERS = "peft4j.adapter_layers";
  private static final int HASHED = 1 << 20;

  private final WeightFormat weights;
  private final double tolerance;
  private final long mostInline;
  private final @Nullable List<String> adapterLayers;

  private OnnxExporter(Builder builder) {
    weights = builder.weights;
    tolerance = builder.tolerance;
    mostInline = builder.mostInline;
    adapterLayers = builder.adapterLayers;
  }

  /**
   * An exporter of whole graphs with float32 weights.
   *
   * @return the exporter
   */
  public static OnnxExporter defaults() {
    return builder().build();
  }

  /**
   * Begins an exporter.
   *
   * @return a builder with the defaults
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Exports a model as it is now, merged weights included.
   *
   * @param model the model
   * @param target the directory; must not exist or be empty
   * @return what was done
   * @throws InvalidConfigException if the model cannot be exported so, or the directory is not
   *     empty
   * @throws PeftException if the graph's answers are not the model's, or a file cannot be written;
   *     nothing is left behind then
   */
  public ExportReport export(PretrainedModel model, Path target) {
    NewDirectory.check(target);
    List<LayerSpec> adapted = adapted(model.layout());
    return export(model, "", fingerprint(model), adapted, target);
  }

  /**
   * Exports a model with adapters folded in. They are merged, and unmerged afterwards.
   *
   * @param model a model with adapters over one of this library's
   * @param adapters which act on every row
   * @param target the directory; must not exist or be empty
   * @return what was done
   * @throws InvalidConfigException if the base is none of this library's, the model cannot be
   *     exported so, or the directory is not empty
   * @throws AdapterStateException if an adapter cannot be merged, or something else is merged now
   * @throws PeftException if the graph's answers are not the model's, or a file cannot be written;
   *     nothing is left behind then
   */
  public ExportReport export(PeftModel model, AdapterSet adapters, Path target) {
    NewDirectory.check(target);
    if (!(model.backbone() instanceof PretrainedModel base)) {
      throw new InvalidConfigException(
          "only models that this library loads can be exported to ONNX; given was a "
              + model.layout().modelType()
              + " network");
    }
    List<LayerSpec> adapted = adapted(base.layout());
    if (!adapted.isEmpty() && !adapters.isNone()) {
      throw new InvalidConfigException(
          "a graph takes adapters while it runs, or has them folded in; asked for were both");
    }
    if (!model.mergedAdapters().isNone()) {
      throw new AdapterStateException(
          "adapters " + model.mergedAdapters() + " are merged: unmerge before exporting");
    }
    String fingerprint = fingerprint(base);
    MergeReport merged = model.merge(adapters, true);
    try {
      merged.requireAll();
      return export(
          base, adapters.isNone() ? "" : adapters.toString(), fingerprint, adapted, target);
    } finally {
      model.unmerge();
    }
  }

  // --- steps ----------------------------------------------------------------------------------

  private List<LayerSpec> adapted(ModelLayout layout) {
    if (adapterLayers == null) {
      return List.of();
    }
    List<LayerSpec> layers =
        layout.layers().stream()
            .filter(OnnxAdapter::isLinear)
            .filter(layer -> isMeant(layout, layer, adapterLayers))
            .toList();
    if (layers.isEmpty()) {
      throw new InvalidConfigException(
          "no linear layer of this " + layout.modelType() + " model is named " + adapterLayers);
    }
    return layers;
  }

  private static boolean isMeant(ModelLayout layout, LayerSpec layer, List<String> names) {
    String path = layer.path();
    if (names.isEmpty()) {
      return layout.outputLayer().filter(path::equals).isEmpty()
          && layout.heads().stream().noneMatch(head -> (path + ".").startsWith(head + "."));
    }
    return names.stream().anyMatch(name -> path.equals(name) || path.endsWith("." + name));
  }

  private ExportReport export(
      PretrainedModel model,
      String adapters,
      String fingerprint,
      List<LayerSpec> adapted,
      Path target) {
    ExportReport[] report = new ExportReport[1];
    NewDirectory.write(
        target,
        directory -> {
          AtomicFiles.createDirectories(directory);
          Path file = directory.resolve(MODEL);
          ExportCheck check = writeAndCheck(model, adapted, file);
          ExportReport made =
              new ExportReport(
                  target.resolve(MODEL),
                  model.architecture(),
                  model.directory().map(Path::toString).orElse(""),
                  adapters,
                  fingerprint,
                  weights,
                  adapted.stream().map(LayerSpec::path).toList(),
                  check.values(),
                  check.error(),
                  tolerance);
          if (!(made.error() <= tolerance)) {
            throw new PeftException(
                "the graph's answers are not the model's: they differ by "
                    + made.error()
                    + ", allowed are "
                    + tolerance
                    + ". Nothing was written");
          }
          model.saveDescription(directory);
          OnnxFile.addMetadata(file, metadata(model, made, adapted));
          report[0] = made;
        });
    return report[0];
  }

  private ExportCheck writeAndCheck(PretrainedModel model, List<LayerSpec> adapted, Path file) {
    try (WeightSnapshot lease = model.weights().lease()) {
      StoredWeights stored = new StoredWeights(model.layout(), lease, weights);
      new OnnxModelGraph(model.network(), stored, adapted::contains)
          .write(file, model.architecture(), version(), mostInline);
      Map<String, Weight> rounded = stored.rounded();
      try (GraphSession session = new GraphSession(file, 0);
          PretrainedModel twin =
              rounded == null ? null : PretrainedModel.of(model.config(), rounded)) {
        ExportCheck check = new ExportCheck(session, twin == null ? model : twin);
        check.run(adapted);
        return check;
      }
    }
  }

  private static Map<String, String> metadata(
      PretrainedModel model, ExportReport report, List<LayerSpec> adapted) {
    Map<String, String> metadata = new LinkedHashMap<>(report.metadata());
    ObjectNode layers = Json.mapper().createObjectNode();
    for (LayerSpec layer : adapted) {
      layers.putArray(layer.path()).add(layer.inFeatures()).add(layer.outFeatures());
    }
    metadata.put(ADAPTER_LAYERS, layers.toString());
    Network.TextLength length = model.network().textLength();
    metadata.put(IN_ONE_PASS, String.valueOf(length.inOnePass()));
    metadata.put(SWITCHES_AFTER, String.valueOf(length.switchesAfter()));
    metadata.put(CONTEXT, String.valueOf(model.network().limits().longest()));
    return metadata;
  }

  private static String version() {
    String version = OnnxExporter.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  /** Names, shapes and float32 values of all parameters, in the order of the layout. */
  private static String fingerprint(PretrainedModel model) {
    try (WeightSnapshot lease = model.weights().lease();
        GradMode off = GradMode.off()) {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      ModelLayout layout = model.layout();
      layout
          .parameters()
          .forEach(
              (name, shape) -> {
                digest.update((name + shape).getBytes(StandardCharsets.UTF_8));
                try (NDScope scope = new NDScope()) {
                  scope.suppressNotUsedWarning();
                  update(digest, lease.weight(layout.parameterIndex(name)).dense());
                }
              });
      return HexFormat.of().formatHex(digest.digest());
    } catch (NoSuchAlgorithmException e) {
      throw new PeftException("this Java has no SHA-256", e);
    }
  }

  private static void update(MessageDigest digest, NDArray values) {
    float[] floats = values.toFloatArray();
    ByteBuffer bytes = ByteBuffer.allocate(Float.BYTES * HASHED).order(ByteOrder.LITTLE_ENDIAN);
    for (int begin = 0; begin < floats.length; begin += HASHED) {
      int count = Math.min(HASHED, floats.length - begin);
      bytes.clear();
      bytes.asFloatBuffer().put(floats, begin, count);
      digest.update(bytes.limit(Float.BYTES * count));
    }
  }

  /** Puts an exporter together. */
  public static final class Builder {
    /** The default of {@link #tolerance}. */
    public static final double DEFAULT_TOLERANCE = 1e-4;

    /** The default of {@link #mostInline}. */
    public static final long DEFAULT_MOST_INLINE = 1L << 28;

    private WeightFormat weights = WeightFormat.FLOAT32;
    private double tolerance = DEFAULT_TOLERANCE;
    private long mostInline = DEFAULT_MOST_INLINE;
    private @Nullable List<String> adapterLayers;

    private Builder() {}

    /**
     * Sets how weights are stored; float32 by default.
     *
     * @param format how
     * @return this
     */
    public Builder weights(WeightFormat format) {
      weights = format;
      return this;
    }

    /**
     * Sets how far answers may be from the model's; {@value #DEFAULT_TOLERANCE} by default.
     *
     * @param value the largest difference of a value, relative to the largest value of its output
     *     or to 1; at least 0
     * @return this
     */
    public Builder tolerance(double value) {
      tolerance = value;
      return this;
    }

    /**
     * Sets how large the weights may be that are part of {@code model.onnx}; larger ones get a file
     * of their own. {@value #DEFAULT_MOST_INLINE} bytes by default.
     *
     * @param bytes from 0 to 2 GiB
     * @return this
     */
    public Builder mostInline(long bytes) {
      mostInline = bytes;
      return this;
    }

    /**
     * Makes linear layers take LoRA adapters while the graph runs, of any rank and none by default.
     *
     * @param names the layers' paths or their ends, such as {@code q_proj}; none for all but the
     *     output layer and a task's head
     * @return this
     */
    public Builder adapterLayers(String... names) {
      adapterLayers = List.of(names);
      return this;
    }

    /**
     * Makes the exporter.
     *
     * @return the exporter
     * @throws InvalidConfigException if a value is out of range
     */
    public OnnxExporter build() {
      if (!(tolerance >= 0) || Double.isInfinite(tolerance)) {
        throw new InvalidConfigException(
            "tolerance must be finite and at least 0; given was " + tolerance);
      }
      if (mostInline < 0 || mostInline > Integer.MAX_VALUE) {
        throw new InvalidConfigException(
            "mostInline must be from 0 to " + Integer.MAX_VALUE + "; given was " + mostInline);
      }
      return new OnnxExporter(this);
    }
  }
}
