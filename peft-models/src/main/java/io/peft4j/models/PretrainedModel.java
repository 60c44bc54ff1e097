package io.peft4j.models;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.AbstractBlock;
import ai.djl.training.ParameterStore;
import ai.djl.util.PairList;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.gguf.GgufFile;
import io.peft4j.models.gguf.GgufModel;
import io.peft4j.models.onnx.BertOnnx;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.NextTokens;
import io.peft4j.nn.Pass;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.PassSource;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.nn.WeightStore;
import io.peft4j.spi.CheckpointWeights;
import io.peft4j.spi.WeightStorages;
import io.peft4j.state.AtomicFiles;
import io.peft4j.state.Checkpoint;
import io.peft4j.state.Json;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/**
 * A pretrained transformer with frozen weights, read from a Hugging Face directory or a GGUF file.
 * It computes by itself, as a DJL block without parameters, and it is what adapters are wrapped
 * around.
 *
 * <p>Inputs are {@code input_ids}, {@code attention_mask} and {@code token_type_ids}, see {@link
 * ModelInputs}; outputs are named as in transformers: {@code logits} of a model with a head, {@code
 * last_hidden_state} and, where there is a pooler, {@code pooler_output} of one without.
 *
 * <p>Weights are held as they are stored: those of float32 and 16-bit files are the mapped files
 * themselves. What they are computed in is a choice of its own, see {@link
 * LoadOptions.Builder#precision}. Safe for use by several threads at once. The caller closes the
 * model; memory goes when the last pass that began before has ended.
 */
public final class PretrainedModel extends AbstractBlock
    implements Backbone, PassSource, AutoCloseable {
  private final Blueprint blueprint;
  private final Network network;
  private final WeightStore weights;
  private final Device device;
  private final @Nullable Path directory;

  private PretrainedModel(
      Blueprint blueprint,
      Network network,
      Map<String, Weight> weights,
      Device device,
      @Nullable Path directory) {
    this.blueprint = blueprint;
    this.network = network;
    this.weights = WeightStore.of(network.layout(), weights);
    this.device = device;
    this.directory = directory;
  }

  /**
   * Loads the model that a directory's {@code config.json} names.
   *
   * @param directory a Hugging Face directory with {@code config.json} and safetensors files, or a
   *     GGUF file (ending in {@code .gguf})
   * @return the model; the caller closes it
   * @throws io.peft4j.MalformedFileException if a file is missing or damaged, or the tensors are
   *     not the model's
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public static PretrainedModel load(Path directory) {
    return load(directory, LoadOptions.defaults());
  }

  /**
   * Loads the model that a directory's {@code config.json} names, perhaps with another head.
   *
   * @param directory a Hugging Face directory with {@code config.json} and safetensors files, or a
   *     GGUF file (ending in {@code .gguf})
   * @param options device and head
   * @return the model; the caller closes it
   * @throws io.peft4j.MalformedFileException if a file is missing or damaged, or the tensors are
   *     not the model's
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public static PretrainedModel load(Path directory, LoadOptions options) {
    if (GgufFile.isNamedSo(directory)) {
      return loadGguf(directory, options);
    }
    Path file = directory.resolve("config.json");
    ObjectNode config = Json.readObject(file);
    Blueprint blueprint = Blueprint.of(config, options, file.toString());
    // Before any tensor is looked at: a configuration that is refused needs no weights to say so.
    blueprint.network(null);
    WeightStorages.Chosen storage = WeightLoader.storage(config, options, file.toString());
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      CheckpointWeights own =
          storage == null ? null : storage.open(checkpoint, directory.toString());
      Map<String, String> names =
          WeightLoader.names(own == null ? checkpoint.names() : own.names());
      Network network = blueprint.network(names.keySet());
      if (WeightLoader.untied(network.layout(), names, checkpoint)) {
        blueprint = blueprint.untied();
        network = blueprint.network(names.keySet());
      }
      ModelLayout layout = network.layout();
      Map<String, Weight> weights =
          WeightLoader.read(
              blueprint,
              layout,
              WeightLoader.withoutTied(layout, names),
              options,
              WeightLoader.reader(checkpoint, own, layout, options));
      return new PretrainedModel(blueprint, network, weights, options.device(), directory);
    }
  }

  private static PretrainedModel loadGguf(Path file, LoadOptions options) {
    if (!options.device().equals(Device.cpu()) || options.quantization().isPresent()) {
      throw new InvalidConfigException(
          file
              + ": GGUF files are loaded on the CPU and not quantized again; asked for was "
              + (options.quantization().isPresent() ? "quantization" : options.device())
              + ". Convert it to a Hugging Face directory first");
    }
    try (GgufModel model = GgufModel.open(file)) {
      Blueprint blueprint = Blueprint.of(model.config(), options, file.toString());
      Map<String, String> names = WeightLoader.names(model.names());
      Network network = blueprint.network(names.keySet());
      Map<String, Weight> weights =
          WeightLoader.read(
              blueprint,
              network.layout(),
              WeightLoader.withoutTied(network.layout(), names),
              options,
              (name, parameter) -> model.weight(name, options.precision()));
      return new PretrainedModel(blueprint, network, weights, options.device(), file);
    }
  }

  /**
   * Makes a model of a BERT encoder that was exported to ONNX.
   *
   * @param encoder the encoder's parameters; copied
   * @param options device and head
   * @return the model; the caller closes it
   * @throws io.peft4j.InvalidConfigException if the configuration asks for what is not implemented
   */
  public static PretrainedModel of(BertOnnx encoder, LoadOptions options) {
    Blueprint blueprint = Blueprint.of(encoder.config(), options, "the ONNX file's configuration");
    Network network = blueprint.network(encoder.names());
    Map<String, Weight> weights =
        WeightLoader.read(
            blueprint,
            network.layout(),
            WeightLoader.names(encoder.names()),
            options,
            (name, parameter) ->
                WeightLoader.dense(
                    options,
                    manager ->
                        Ops.engineOwned(
                            manager.create(
                                encoder.tensor(name).bytes(),
                                new Shape(encoder.shape(name)),
                                DataType.FLOAT32))));
    return new PretrainedModel(blueprint, network, weights, options.device(), null);
  }

  /**
   * Makes a model of weights that are in memory.
   *
   * @param config the keys of {@code config.json}
   * @param weights Hugging Face's parameter names to weights on the CPU; the model closes them
   * @return the model; the caller closes it
   * @throws io.peft4j.MalformedFileException if the weights are not the model's; they are closed
   *     then
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public static PretrainedModel of(ObjectNode config, Map<String, Weight> weights) {
    Blueprint blueprint = Blueprint.of(config, LoadOptions.defaults(), "the configuration");
    Network network = blueprint.network(weights.keySet());
    return new PretrainedModel(
        blueprint, network, new LinkedHashMap<>(weights), Device.cpu(), null);
  }

  /**
   * The layout of a model of which only the configuration is there.
   *
   * @param config the keys of {@code config.json}
   * @return names and shapes, as a model with these weights would have them
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public static ModelLayout layout(ObjectNode config) {
    return Blueprint.of(config, LoadOptions.defaults(), "the configuration").network(null).layout();
  }

  // --- what it is -----------------------------------------------------------------------------

  /**
   * The configuration, with the class and labels that the model was loaded with.
   *
   * @return a copy of the keys of {@code config.json}
   */
  public ObjectNode config() {
    return blueprint.config().deepCopy();
  }

  /** {@return Hugging Face's name of the family, for example {@code bert}} */
  public String modelType() {
    return blueprint.family().modelType();
  }

  /** {@return Hugging Face's name of the class, for example {@code BertModel}} */
  public String architecture() {
    return blueprint.architecture();
  }

  /**
   * Where the model was loaded from.
   *
   * @return the directory or GGUF file; empty if it was made of weights in memory
   */
  public Optional<Path> directory() {
    return Optional.ofNullable(directory);
  }

  @Override
  public WeightStore weights() {
    return weights;
  }

  @Override
  public Device device() {
    return device;
  }

  @Override
  public Optional<Origin> origin() {
    String name = directory == null ? "" : directory.toString();
    return Optional.of(new Origin(name, architecture(), blueprint.family().library()));
  }

  // --- computing ------------------------------------------------------------------------------

  @Override
  public NDList forward(Pass pass, NDList inputs) {
    return network.forward(pass, checked(inputs));
  }

  @Override
  public OptionalDouble accumulateGradients(
      Pass pass, NDList inputs, NextTokens loss, double weight) {
    return network.accumulateGradients(pass, checked(inputs), loss, weight);
  }

  private ModelInputs checked(NDList inputs) {
    for (NDArray input : inputs) {
      if (!input.getDevice().equals(device)) {
        throw new InvalidInputException(
            "inputs must be on " + device + ", where the model is; given was " + input.getDevice());
      }
    }
    return ModelInputs.of(inputs, network.limits());
  }

  @Override
  public Backbone backbone() {
    return this;
  }

  @Override
  public PassLease lease(long batch, int copies) {
    return BasePass.over(weights);
  }

  /** {@return the model without its weights: names, shapes, and how it computes} */
  public Network network() {
    return network;
  }

  /**
   * Computes the model alone, without dropout and gradients.
   *
   * @param inputs see {@link ModelInputs}; they stay the caller's
   * @return the outputs, which belong to the manager of the first input and to the caller's {@link
   *     ai.djl.ndarray.NDScope}, if one is open
   * @throws InvalidInputException if the inputs are not what the model takes
   * @throws io.peft4j.AdapterStateException if the model has been closed
   */
  public NDList forward(NDList inputs) {
    try (GradMode off = GradMode.off();
        PassLease lease = lease(1, 1)) {
      return Scopes.outputs(inputs, () -> forward(lease.pass(), inputs));
    }
  }

  @Override
  protected NDList forwardInternal(
      ParameterStore parameterStore,
      NDList inputs,
      boolean training,
      @Nullable PairList<String, Object> params) {
    return forward(inputs);
  }

  /**
   * The shapes of the outputs.
   *
   * @param inputShapes the shape of {@code input_ids}, [batch, length], first
   * @return a shape for each output
   * @throws InvalidInputException if there is no such shape
   */
  @Override
  public Shape[] getOutputShapes(Shape[] inputShapes) {
    if (inputShapes.length == 0 || inputShapes[0].dimension() != 2) {
      throw new InvalidInputException(
          "the shape of input_ids, [batch, length], must come first; given were "
              + Arrays.toString(inputShapes));
    }
    return network.outputShapes(inputShapes[0].get(0), inputShapes[0].get(1));
  }

  // --- files ----------------------------------------------------------------------------------

  /**
   * Saves the model as it is now, merged weights included, in float32.
   *
   * @param target the directory, made if it is missing
   * @throws io.peft4j.PeftException if a file cannot be written
   */
  public void save(Path target) {
    save(target, SaveOptions.defaults());
  }

  /**
   * Saves the model as it is now, merged weights included, as a directory that this library and
   * transformers load: {@code config.json}, {@code model.safetensors} or shards of it, and the
   * tokenizer's and generation's files of the directory or GGUF file it was loaded from. Names that
   * share a weight are written once; if they share it no longer (after a merge that changed only
   * one), {@code tie_word_embeddings} becomes false.
   *
   * @param target the directory, made if it is missing
   * @param options type and size of the files
   * @throws io.peft4j.PeftException if a file cannot be written
   */
  public void save(Path target, SaveOptions options) {
    try (WeightSnapshot lease = weights.lease()) {
      ModelWriter.write(target, options, layout(), lease, blueprint);
    }
    ModelWriter.writeOthers(directory, target);
  }

  /**
   * Saves what belongs to the model beside its weights: {@code config.json}, and the tokenizer's
   * and generation's files of the directory or GGUF file it was loaded from.
   *
   * @param target the directory, made if it is missing
   * @throws io.peft4j.PeftException if a file cannot be written
   */
  public void saveDescription(Path target) {
    AtomicFiles.createDirectories(target);
    AtomicFiles.writeString(target.resolve("config.json"), Json.toPythonString(config()) + "\n");
    ModelWriter.writeOthers(directory, target);
  }

  /**
   * Closes the model. Passes that have begun go on to their end; the last one frees the weights.
   */
  @Override
  public void close() {
    weights.close();
  }
}
