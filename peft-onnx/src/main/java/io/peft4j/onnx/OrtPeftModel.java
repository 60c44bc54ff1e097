package io.peft4j.onnx;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.Network;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Json;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * An exported model, open in ONNX Runtime, with adapters that are chosen by each request. The
 * training engine is not needed.
 *
 * <pre>{@code
 * try (OrtPeftModel model = OrtPeftModel.open(Path.of("base-onnx"))) {
 *   model.loadAdapter("style", Path.of("style.onnx_adapter"));
 *   String text = model.withAdapter("style").generator().generate("Once upon a time").text();
 * }
 * }</pre>
 *
 * <p>Adapters are read when they are first used; the ones used last stay in ONNX Runtime, see
 * {@link Builder#cachedAdapters}. Safe for use by several threads at once. The caller closes the
 * model; what has begun goes on to its end, and memory goes with the last of it.
 */
public final class OrtPeftModel implements AutoCloseable {
  private final Path directory;
  private final ObjectNode config;
  private final Leased<Opened> opened;
  private final OrtAdapters adapters;
  private final boolean cached;
  private final int context;
  private final Map<String, String> metadata;
  private final @Nullable Tokenizer tokenizer;

  /** What is closed when the last use has ended. */
  record Opened(GraphSession session, @Nullable Tokenizer tokenizer) implements AutoCloseable {
    @Override
    public void close() {
      session.close();
      if (tokenizer != null) {
        tokenizer.close();
      }
    }
  }

  private OrtPeftModel(Builder builder) {
    Path given = builder.path;
    Path file = Files.isDirectory(given) ? given.resolve(OnnxExporter.MODEL) : given;
    directory = Optional.ofNullable(file.toAbsolutePath().getParent()).orElse(file);
    config = Json.readObject(directory.resolve("config.json"));
    boolean texts = Files.isRegularFile(directory.resolve("tokenizer.json"));
    tokenizer = texts ? Tokenizer.load(directory) : null;
    opened = new Leased<>(open(file, builder.threads), "the model " + given);
    GraphSession session = opened.acquire().session();
    try {
      cached = session.hasCache();
      metadata = Map.copyOf(session.metadata());
      context = longest();
      adapters = new OrtAdapters(metadata, builder.cachedAdapters);
    } catch (RuntimeException | Error e) {
      opened.retire();
      throw e;
    } finally {
      opened.release();
    }
  }

  private Opened open(Path file, int threads) {
    try {
      return new Opened(new GraphSession(file, threads), tokenizer);
    } catch (RuntimeException | Error e) {
      if (tokenizer != null) {
        tokenizer.close();
      }
      throw e;
    }
  }

  /**
   * Opens an exported model.
   *
   * @param path a directory that {@link OnnxExporter} wrote, or an {@code .onnx} file with {@code
   *     config.json} beside it
   * @return the model; the caller closes it
   * @throws io.peft4j.MalformedFileException if a file is missing or damaged, or the graph takes
   *     inputs that are not known
   */
  public static OrtPeftModel open(Path path) {
    return builder(path).build();
  }

  /**
   * Begins to open an exported model.
   *
   * @param path as for {@link #open}
   * @return a builder with the defaults
   */
  public static Builder builder(Path path) {
    return new Builder(path);
  }

  /**
   * The configuration.
   *
   * @return a copy of the keys of {@code config.json}
   */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /**
   * What the exporter wrote into the graph: source, adapters, fingerprint of the base, error.
   *
   * @return keys and values
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Adds an adapter file.
   *
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param file an {@code .onnx_adapter} file; is read now to be checked, and again whenever it has
   *     to be loaded
   * @throws io.peft4j.MalformedFileException if the file is damaged
   * @throws AdapterStateException if the graph does not take its tensors, with the differences, or
   *     the name is in use
   */
  public void loadAdapter(String name, Path file) {
    adapters.add(name, () -> OnnxAdapter.read(file));
  }

  /**
   * Adds an adapter.
   *
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param adapter the adapter, which is kept
   * @throws AdapterStateException if the graph does not take its tensors, with the differences, or
   *     the name is in use
   */
  public void addAdapter(String name, OnnxAdapter adapter) {
    adapters.add(name, () -> adapter);
  }

  /**
   * Deletes an adapter; runs that use it go on to their end.
   *
   * @param name the adapter
   * @throws AdapterStateException if there is none of that name
   */
  public void deleteAdapter(String name) {
    adapters.remove(name);
  }

  /**
   * The adapters.
   *
   * @return their names in the order in which they were added
   */
  public List<String> adapterNames() {
    return adapters.names();
  }

  /**
   * The model with an adapter.
   *
   * @param name the adapter
   * @return a view, which holds nothing that is to be closed
   * @throws AdapterStateException if there is none of that name
   */
  public OrtView withAdapter(String name) {
    adapters.check(name);
    return new OrtView(this, name);
  }

  /**
   * The model without adapters.
   *
   * @return a view, which holds nothing that is to be closed
   */
  public OrtView base() {
    return new OrtView(this, null);
  }

  /** How the length of a text matters, as the exporter says. */
  Network.TextLength textLength() {
    return new Network.TextLength(
        Boolean.parseBoolean(metadata.get(OnnxExporter.IN_ONE_PASS)),
        number(OnnxExporter.SWITCHES_AFTER));
  }

  /** A number of the metadata; without one, more than there can be. */
  private int number(String key) {
    String told = metadata.getOrDefault(key, "");
    return told.matches("\\d{1,9}") ? Integer.parseInt(told) : Integer.MAX_VALUE;
  }

  /** The most tokens in a row: as the exporter says, else as the configuration does. */
  private int longest() {
    int told = number(OnnxExporter.CONTEXT);
    if (told < Integer.MAX_VALUE) {
      return told;
    }
    boolean counted = config.path("model_type").asText("").equals("roberta");
    int unused = counted ? config.path("pad_token_id").asInt(1) + 1 : 0;
    for (String key : List.of("max_position_embeddings", "n_positions")) {
      int positions = config.path(key).asInt(0);
      if (positions > unused) {
        return positions - unused;
      }
    }
    return Integer.MAX_VALUE;
  }

  // --- for views ------------------------------------------------------------------------------

  OrtRun begin(@Nullable String adapter) {
    return new OrtRun(opened, adapters, adapter);
  }

  int context() {
    return context;
  }

  boolean hasCache() {
    return cached;
  }

  Path directory() {
    return directory;
  }

  int heldAdapters() {
    return adapters.holds();
  }

  /**
   * The directory's tokenizer.
   *
   * @return the tokenizer, which goes with the model
   * @throws InvalidConfigException if there is none
   */
  public Tokenizer tokenizer() {
    Tokenizer found = tokenizer;
    if (found == null) {
      throw new InvalidConfigException(
          directory + ": there is no tokenizer.json, without which texts cannot be read");
    }
    return found;
  }

  /** Closes the model. What has begun goes on to its end. */
  @Override
  public void close() {
    adapters.close();
    opened.retire();
  }

  /** Opens a model. */
  public static final class Builder {
    /** The default of {@link #cachedAdapters}. */
    public static final int DEFAULT_CACHED_ADAPTERS = 32;

    private final Path path;
    private int threads;
    private int cachedAdapters = DEFAULT_CACHED_ADAPTERS;

    private Builder(Path path) {
      this.path = path;
    }

    /**
     * Sets how many threads one run computes with.
     *
     * @param count the number; 0, the default, for as many as there are cores
     * @return this
     */
    public Builder threads(int count) {
      threads = count;
      return this;
    }

    /**
     * Sets how many adapters ONNX Runtime holds at most, those in use not counted; {@value
     * #DEFAULT_CACHED_ADAPTERS} by default.
     *
     * @param count at least 1
     * @return this
     */
    public Builder cachedAdapters(int count) {
      cachedAdapters = count;
      return this;
    }

    /**
     * Opens the model.
     *
     * @return the model; the caller closes it
     * @throws InvalidConfigException if a value is out of range
     * @throws io.peft4j.MalformedFileException as {@link OrtPeftModel#open} says
     */
    public OrtPeftModel build() {
      if (threads < 0 || cachedAdapters < 1) {
        throw new InvalidConfigException(
            "threads must be at least 0 and cachedAdapters at least 1; given were "
                + threads
                + " and "
                + cachedAdapters);
      }
      return new OrtPeftModel(this);
    }
  }
}
