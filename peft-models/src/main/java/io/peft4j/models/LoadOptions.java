package io.peft4j.models;

import ai.djl.Device;
import io.peft4j.InvalidConfigException;
import io.peft4j.spi.QuantizationConfig;
import io.peft4j.torch.Precision;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** How a model is loaded. Immutable. */
public final class LoadOptions {
  /** Which head the model gets. */
  enum Head {
    /** The one that the configuration names. */
    AS_CONFIGURED,
    /** None. */
    NONE,
    /** A new one that classifies sequences. */
    CLASSIFIER,
    /** A new one that classifies tokens. */
    TOKEN_CLASSIFIER,
    /** A new one that finds answers. */
    QUESTION_ANSWERING;

    boolean isNew() {
      return this != AS_CONFIGURED && this != NONE;
    }
  }

  private final Device device;
  private final @Nullable Precision precision;
  private final Head head;
  private final List<String> labels;
  private final boolean meanPooling;
  private final long seed;
  private final @Nullable Integer paddingToken;
  private final @Nullable QuantizationConfig quantization;

  private LoadOptions(Builder builder) {
    device = builder.device;
    precision = builder.precision;
    head = builder.head;
    labels = builder.labels;
    meanPooling = builder.meanPooling;
    seed = builder.seed;
    paddingToken = builder.paddingToken;
    quantization = builder.quantization;
  }

  /**
   * The options that apply when none are given: on the CPU, with the head that the configuration
   * names.
   *
   * @return the options
   */
  public static LoadOptions defaults() {
    return builder().build();
  }

  /**
   * Starts options.
   *
   * @return a builder with the defaults
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Where the weights go.
   *
   * @return the device
   */
  public Device device() {
    return device;
  }

  /**
   * What products with the weights are computed in.
   *
   * @return the precision; empty if it is chosen by what the checkpoint holds and the CPU does fast
   */
  public Optional<Precision> precision() {
    return Optional.ofNullable(precision);
  }

  /**
   * The classes of a new head that classifies sequences or tokens.
   *
   * @return their names; empty if no such head is asked for
   */
  public List<String> labels() {
    return labels;
  }

  /**
   * Whether heads are left out.
   *
   * @return true if only the headless model is asked for
   */
  public boolean headless() {
    return head == Head.NONE;
  }

  /**
   * Whether a new classification head of BERT sees the mean of all tokens.
   *
   * @return false if it sees what the pooler makes of the first, as in transformers
   */
  public boolean meanPooling() {
    return meanPooling;
  }

  /**
   * What a new head's weights are drawn from.
   *
   * @return the seed
   */
  public long seed() {
    return seed;
  }

  /**
   * The token that fills up rows.
   *
   * @return the token; empty if it is the one that the configuration names, if any
   */
  public Optional<Integer> paddingToken() {
    return Optional.ofNullable(paddingToken);
  }

  /**
   * How weights are quantized while they are loaded.
   *
   * @return the settings; empty if weights stay as they are stored
   */
  public Optional<QuantizationConfig> quantization() {
    return Optional.ofNullable(quantization);
  }

  Head head() {
    return head;
  }

  /** Collects {@link LoadOptions}. */
  public static final class Builder {
    private Device device = Device.cpu();
    private @Nullable Precision precision;
    private Head head = Head.AS_CONFIGURED;
    private List<String> labels = List.of();
    private boolean meanPooling;
    private long seed;
    private @Nullable Integer paddingToken;
    private @Nullable QuantizationConfig quantization;

    private Builder() {}

    /**
     * Sets where the weights go; the CPU if this is not called.
     *
     * @param device the device
     * @return this
     */
    public Builder device(Device device) {
      this.device = device;
      return this;
    }

    /**
     * Sets what products with the weights are computed in. If this is not called, weights stored in
     * float32 are computed in float32, and others in {@link Precision#fastest()}, which is measured
     * once and said in the log. bfloat16 has the accuracy of PyTorch's autocast; weights stay
     * stored as they are either way.
     *
     * @param precision the precision
     * @return this
     */
    public Builder precision(Precision precision) {
      this.precision = precision;
      return this;
    }

    /**
     * Asks for a new head that classifies sequences in the place of whatever head the checkpoint
     * has: weights from a normal distribution with standard deviation {@code initializer_range},
     * biases zero. A pooler that the head needs and the checkpoint lacks is made likewise.
     *
     * @param labels a name for each class, at least one, all different
     * @return this
     * @throws InvalidConfigException if there are none or a name stands twice
     */
    public Builder classifier(List<String> labels) {
      return classifier(Head.CLASSIFIER, labels);
    }

    private Builder classifier(Head kind, List<String> names) {
      if (names.isEmpty() || new HashSet<>(names).size() != names.size()) {
        throw new InvalidConfigException(
            "a classifier needs at least one class, and all of different names; given was "
                + names);
      }
      head = kind;
      labels = List.copyOf(names);
      return this;
    }

    /**
     * As {@link #classifier(List)}, with names as transformers makes them up: {@code LABEL_0} and
     * so on.
     *
     * @param classes number of classes, at least 1
     * @return this
     * @throws InvalidConfigException if there are none
     */
    public Builder classifier(int classes) {
      return classifier(numbered(classes));
    }

    private static List<String> numbered(int classes) {
      return IntStream.range(0, classes).mapToObj(i -> "LABEL_" + i).toList();
    }

    /**
     * Asks for a new head that classifies each token, made as that of {@link #classifier(List)}.
     *
     * @param labels a name for each class, at least one, all different
     * @return this
     * @throws InvalidConfigException if there are none or a name stands twice
     */
    public Builder tokenClassifier(List<String> labels) {
      return classifier(Head.TOKEN_CLASSIFIER, labels);
    }

    /**
     * As {@link #tokenClassifier(List)}, with names as transformers makes them up: {@code LABEL_0}
     * and so on.
     *
     * @param classes number of classes, at least 1
     * @return this
     * @throws InvalidConfigException if there are none
     */
    public Builder tokenClassifier(int classes) {
      return tokenClassifier(numbered(classes));
    }

    /**
     * Asks for a new head that finds where the answer to a question begins and ends, made as that
     * of {@link #classifier(List)}.
     *
     * @return this
     */
    public Builder questionAnswering() {
      head = Head.QUESTION_ANSWERING;
      labels = List.of();
      return this;
    }

    /**
     * Lets a new classification head of BERT see the mean of all tokens, as sentence encoders such
     * as MiniLM are trained, and not what the pooler makes of the first. transformers has no such
     * BERT class: adapters over it load in Python PEFT over a module that does the same.
     *
     * @return this
     */
    public Builder meanPooling() {
      meanPooling = true;
      return this;
    }

    /**
     * Asks for the model without any task's head, whatever the checkpoint has.
     *
     * @return this
     */
    public Builder headless() {
      head = Head.NONE;
      labels = List.of();
      return this;
    }

    /**
     * Sets the token that fills up rows, {@code pad_token_id}. Decoders that classify find the last
     * token of a row by it, and many configurations name none.
     *
     * @param token number of the token
     * @return this
     */
    public Builder paddingToken(int token) {
      paddingToken = token;
      return this;
    }

    /**
     * Quantizes the weights of a directory while it is loaded, tensor by tensor. A directory that
     * is quantized already needs no such wish and refuses it.
     *
     * @param config how, for example a {@code BitsAndBytesConfig} of {@code peft-qlora}
     * @return this
     */
    public Builder quantization(QuantizationConfig config) {
      quantization = config;
      return this;
    }

    /**
     * Sets what a new head's weights are drawn from; 0 if this is not called.
     *
     * @param seed any number
     * @return this
     */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /**
     * Finishes the options.
     *
     * @return the options
     */
    public LoadOptions build() {
      return new LoadOptions(this);
    }
  }
}
