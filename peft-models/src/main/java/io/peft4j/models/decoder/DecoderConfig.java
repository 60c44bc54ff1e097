package io.peft4j.models.decoder;

import io.peft4j.torch.Activation;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Rotary;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a decoder's configuration says, defaults filled in. {@link DecoderReader} reads what
 * families have in common; the rest is set with the builder.
 */
public final class DecoderConfig {
  private final String modelType;
  private final Sizes sizes;
  private final LayerConfig layer;
  private final List<Integer> windows;
  private final List<Rope> ropes;
  private final boolean scaledEmbeddings;
  private final double finalSoftcap;
  private final boolean tied;
  private final @Nullable Integer padding;

  private DecoderConfig(Builder builder) {
    modelType = builder.modelType;
    sizes = builder.sizes;
    windows = builder.windows;
    ropes = builder.ropes;
    scaledEmbeddings = builder.scaledEmbeddings;
    finalSoftcap = builder.finalSoftcap;
    tied = builder.tied;
    padding = builder.padding;
    layer =
        new LayerConfig(
            sizes.hidden(),
            sizes.intermediate(),
            new Attention(
                sizes.heads(), sizes.keyValueHeads(), builder.attentionScale, builder.softcap),
            new Rotary(sizes.headSize(), ropes.get(0).size()),
            sizes.epsilon(),
            new LayerConfig.Options(
                builder.inputBias,
                builder.outputBias,
                builder.mlpBias,
                builder.joined,
                builder.headNorms,
                builder.outerNorms,
                builder.shiftedNorms),
            builder.activation,
            builder.attentionDropout,
            builder.residualDropout);
  }

  /**
   * The sizes of a model.
   *
   * @param vocabulary {@code vocab_size}
   * @param hidden {@code hidden_size}
   * @param intermediate {@code intermediate_size}
   * @param layers {@code num_hidden_layers}
   * @param heads {@code num_attention_heads}
   * @param keyValueHeads {@code num_key_value_heads}, a divisor of {@code heads}; among defaults 0
   *     for as many as {@code heads}
   * @param headSize {@code head_dim}, even; among defaults 0 for {@code hidden / heads}
   * @param positions {@code max_position_embeddings}
   * @param epsilon {@code rms_norm_eps}
   */
  public record Sizes(
      int vocabulary,
      int hidden,
      int intermediate,
      int layers,
      int heads,
      int keyValueHeads,
      int headSize,
      int positions,
      double epsilon) {}

  String modelType() {
    return modelType;
  }

  Sizes sizes() {
    return sizes;
  }

  LayerConfig layer() {
    return layer;
  }

  /** How many tokens each layer sees, the token itself included; 0 for all. */
  List<Integer> windows() {
    return windows;
  }

  /** The angles of each layer. */
  List<Rope> ropes() {
    return ropes;
  }

  /** How many positions there are. */
  int positions() {
    double reach = sizes.positions();
    for (Rope rope : ropes) {
      reach = Math.max(reach, rope.scaling().reach(sizes.positions()));
    }
    return (int) Math.min(reach, Integer.MAX_VALUE);
  }

  /** The factor on embeddings. */
  float embeddingScale() {
    return scaledEmbeddings ? (float) Math.sqrt(sizes.hidden()) : 1;
  }

  /** The bound of logits; 0 for none. */
  double finalSoftcap() {
    return finalSoftcap;
  }

  boolean tied() {
    return tied;
  }

  /** The token that fills rows up; null for none. */
  @Nullable Integer padding() {
    return padding;
  }

  /** Puts a configuration together. What is not set is as in Llama. */
  public static final class Builder {
    private final String modelType;
    private final Sizes sizes;
    private List<Integer> windows;
    private List<Rope> ropes;
    private double attentionScale;
    private double softcap;
    private double finalSoftcap;
    private double attentionDropout;
    private double residualDropout;
    private boolean inputBias;
    private boolean outputBias;
    private boolean mlpBias;
    private boolean joined;
    private boolean headNorms;
    private boolean outerNorms;
    private boolean shiftedNorms;
    private boolean scaledEmbeddings;
    private boolean tied;
    private Activation activation = Activation.SILU;
    private @Nullable Integer padding;

    /**
     * Begins.
     *
     * @param modelType Hugging Face's name of the family
     * @param sizes the sizes
     */
    Builder(String modelType, Sizes sizes) {
      this.modelType = modelType;
      this.sizes = sizes;
      windows = Collections.nCopies(sizes.layers(), 0);
      ropes = List.of();
    }

    /**
     * The sizes.
     *
     * @return what was read of the configuration
     */
    public Sizes sizes() {
      return sizes;
    }

    /**
     * Sets how many tokens a token sees in each layer, itself included.
     *
     * @param values a number for each layer; 0 for all tokens before it
     * @return this
     */
    public Builder windows(List<Integer> values) {
      windows = List.copyOf(values);
      return this;
    }

    /**
     * Sets the angles of all layers.
     *
     * @param rope the angles
     * @return this
     */
    public Builder rope(Rope rope) {
      return ropes(Collections.nCopies(sizes.layers(), rope));
    }

    /**
     * Sets the angles of each layer, all for heads of the same size.
     *
     * @param values angles for each layer
     * @return this
     */
    public Builder ropes(List<Rope> values) {
      ropes = List.copyOf(values);
      return this;
    }

    /**
     * Sets the factor on attention scores.
     *
     * @param scale the factor; 0 for 1 / sqrt(head size)
     * @param bound the bound of scores, see {@link Attention}; 0 for none
     * @return this
     */
    public Builder scores(double scale, double bound) {
      attentionScale = scale;
      softcap = bound;
      return this;
    }

    /**
     * Sets the bound of logits.
     *
     * @param bound the bound; 0 for none
     * @return this
     */
    public Builder finalSoftcap(double bound) {
      finalSoftcap = bound;
      return this;
    }

    /**
     * Sets what is dropped in training.
     *
     * @param attention probability with which attention weights are dropped
     * @param residual probability with which values that join the residual stream are dropped
     * @return this
     */
    public Builder dropout(double attention, double residual) {
      attentionDropout = attention;
      residualDropout = residual;
      return this;
    }

    /**
     * Sets which layers have biases.
     *
     * @param input those of queries, keys and values
     * @param output that of the attention's output
     * @param mlp those of the feed-forward network
     * @return this
     */
    public Builder biases(boolean input, boolean output, boolean mlp) {
      inputBias = input;
      outputBias = output;
      mlpBias = mlp;
      return this;
    }

    /**
     * Makes one layer, {@code qkv_proj}, of queries, keys and values, and one, {@code
     * gate_up_proj}, of gate and up.
     *
     * @return this
     */
    public Builder joinedProjections() {
      joined = true;
      return this;
    }

    /**
     * Normalises each query and key before it is turned, by {@code q_norm} and {@code k_norm}.
     *
     * @return this
     */
    public Builder headNorms() {
      headNorms = true;
      return this;
    }

    /**
     * Makes all norms Gemma's: they multiply by 1 + weight, what joins the residual stream is
     * normalised too, and embeddings are multiplied by sqrt(hidden).
     *
     * @return this
     */
    public Builder gemma() {
      shiftedNorms = true;
      outerNorms = true;
      scaledEmbeddings = true;
      return this;
    }

    /**
     * Sets the activation of the feed-forward network.
     *
     * @param value the activation
     * @return this
     */
    public Builder activation(Activation value) {
      activation = value;
      return this;
    }

    /**
     * Sets whether the layer that gives logits has the weights of the embedding.
     *
     * @param value true if so
     * @return this
     */
    public Builder tied(boolean value) {
      tied = value;
      return this;
    }

    /**
     * Sets the token that fills rows up, by which a classifier finds their ends.
     *
     * @param token the token; null for none
     * @return this
     */
    public Builder padding(@Nullable Integer token) {
      padding = token;
      return this;
    }

    /**
     * Makes the configuration.
     *
     * @return the configuration
     */
    public DecoderConfig build() {
      if (ropes.size() != sizes.layers() || windows.size() != sizes.layers()) {
        throw new IllegalStateException("each layer needs a window and angles");
      }
      return new DecoderConfig(this);
    }
  }
}
