package io.peft4j.lora;

import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A recipe for one LoRA adapter out of several: which, with what weights, and by what rule.
 * Immutable.
 *
 * <pre>{@code
 * LoraCombination both =
 *     LoraCombination.builder().adapter("style", 0.7).adapter("facts", -0.4).build();
 * Lora.addWeightedAdapter(model, "both", both);
 * }</pre>
 *
 * <p>Below, adapter i has weight w_i, scaling s_i and the change ΔW_i = s_i·B_i·A_i at a layer.
 */
public final class LoraCombination {
  private final Type type;
  private final List<Part> parts;
  private final @Nullable Double density;
  private final MajoritySign majoritySign;
  private final @Nullable Integer svdRank;
  private final @Nullable Integer seed;

  private LoraCombination(Builder builder) {
    type = builder.type;
    parts = List.copyOf(builder.parts);
    density = builder.density;
    majoritySign = builder.majoritySign;
    svdRank = builder.svdRank;
    seed = builder.seed;
  }

  /**
   * The rules.
   *
   * <p>{@link #CAT} and {@link #SVD} give Σ w_i·ΔW_i. The others give what {@code
   * add_weighted_adapter} of Hugging Face PEFT 0.21 gives, with its two peculiarities: one adapter
   * alone is always combined by {@link #LINEAR}, and if the first adapter is rank-stabilised, so is
   * the new one, which makes it √rank times too strong ({@code CAT} and {@code SVD} are free of
   * this here).
   *
   * <p>The rules without {@code SVD} in their name work on A and B apart: A is the combination of
   * the A_i with the weights ±√|w_i·s_i|, the sign being that of w_i, and B that of the B_i with
   * √|w_i·s_i|. Their product therefore holds, besides the terms w_i·ΔW_i, cross terms
   * ±√|w_i·s_i·w_j·s_j|·B_i·A_j for all i ≠ j, which belong to no adapter and are of the size of
   * the others. They need equal ranks. The rules that end in {@code SVD} combine the ΔW_i
   * themselves, without cross terms, and cut the result to {@link #svdRank()} by a singular value
   * decomposition of the whole matrix.
   */
  public enum Type {
    /**
     * A and B of all adapters one after the other, w_i·s_i multiplied into A. Exact; the rank is
     * the sum of the ranks. The default.
     */
    CAT,
    /**
     * The best approximation of Σ w_i·ΔW_i of rank {@link #svdRank()}: exact if that is at least
     * the rank of the sum (the sum of the ranks always is).
     */
    SVD,
    /** Weighted sums of A and of B: task arithmetic (Ilharco et al. 2023). Has cross terms. */
    LINEAR,
    /**
     * Of each A_i and B_i the largest values by magnitude are kept; where they differ in sign the
     * majority decides, and the mean of those that agree is taken (Yadav et al. 2023). Has cross
     * terms.
     */
    TIES,
    /** The rule of {@link #TIES} for the ΔW_i. */
    TIES_SVD,
    /**
     * Values of each A_i and B_i are dropped at random and the rest divided by the density, then
     * summed (Yu et al. 2024). Has cross terms.
     */
    DARE_LINEAR,
    /** Values are dropped as in {@link #DARE_LINEAR} and combined as in {@link #TIES}. */
    DARE_TIES,
    /** The rule of {@link #DARE_LINEAR} for the ΔW_i. */
    DARE_LINEAR_SVD,
    /** The rule of {@link #DARE_TIES} for the ΔW_i. */
    DARE_TIES_SVD,
    /**
     * Of each A_i and B_i the largest values by magnitude are kept, then summed. Has cross terms.
     */
    MAGNITUDE_PRUNE,
    /** The rule of {@link #MAGNITUDE_PRUNE} for the ΔW_i. */
    MAGNITUDE_PRUNE_SVD;

    /**
     * The name PEFT gives it.
     *
     * @return for example {@code dare_linear_svd}
     */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The type of a name.
     *
     * @param key a name as {@link #key()} gives it
     * @return the type
     * @throws InvalidConfigException if there is none of that name
     */
    public static Type of(String key) {
      return Arrays.stream(values())
          .filter(type -> type.key().equals(key))
          .findFirst()
          .orElseThrow(
              () ->
                  new InvalidConfigException(
                      "the combination type is one of "
                          + Arrays.stream(values()).map(Type::key).collect(Collectors.joining(", "))
                          + "; got '"
                          + key
                          + "'"));
    }

    /** Whether the result is Σ w_i·ΔW_i, as far as the rank allows. */
    boolean isExact() {
      return this == CAT || this == SVD;
    }

    /** Whether the ΔW_i are combined and decomposed, not A and B. */
    boolean isOnDelta() {
      return name().endsWith("SVD");
    }

    /** Whether values are dropped. */
    boolean prunes() {
      return !isExact() && this != LINEAR;
    }
  }

  /** How TIES finds the sign that counts. */
  public enum MajoritySign {
    /** The sign of the sum of the values. */
    TOTAL,
    /** The sign that more of the values have. */
    FREQUENCY
  }

  /**
   * An adapter and its weight.
   *
   * @param adapter the adapter's name
   * @param weight any finite number; a negative one takes the adapter's effect away
   */
  public record Part(String adapter, double weight) {}

  /**
   * Starts a recipe.
   *
   * @return a builder of type {@link Type#CAT} without adapters
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The rule.
   *
   * @return the type
   */
  public Type type() {
    return type;
  }

  /**
   * The adapters and their weights.
   *
   * @return at least one, in the order in which they were given
   */
  public List<Part> parts() {
    return parts;
  }

  /**
   * The share of values that is kept by the rules that drop some.
   *
   * @return in (0, 1]
   */
  public OptionalDouble density() {
    return density == null ? OptionalDouble.empty() : OptionalDouble.of(density);
  }

  /**
   * How the TIES rules find the sign that counts.
   *
   * @return the method
   */
  public MajoritySign majoritySign() {
    return majoritySign;
  }

  /**
   * The rank of what the {@code SVD} rules give.
   *
   * @return at least 1; if absent the largest rank among the adapters
   */
  public OptionalInt svdRank() {
    return svdRank == null ? OptionalInt.empty() : OptionalInt.of(svdRank);
  }

  /**
   * The seed of what the DARE rules drop.
   *
   * @return the seed; if absent the engine's generator goes on from where it is
   */
  public OptionalInt seed() {
    return seed == null ? OptionalInt.empty() : OptionalInt.of(seed);
  }

  /** Collects a {@link LoraCombination}. */
  public static final class Builder {
    private final List<Part> parts = new ArrayList<>();
    private Type type = Type.CAT;
    private @Nullable Double density;
    private MajoritySign majoritySign = MajoritySign.TOTAL;
    private @Nullable Integer svdRank;
    private @Nullable Integer seed;

    private Builder() {}

    /**
     * Sets the rule.
     *
     * @param value {@link Type#CAT} if not set
     * @return this
     */
    public Builder type(Type value) {
      type = value;
      return this;
    }

    /**
     * Adds an adapter. Its order matters: the new adapter has the settings of the first, apart from
     * rank, alpha and targets.
     *
     * @param name a LoRA adapter
     * @param weight any finite number
     * @return this
     */
    public Builder adapter(String name, double weight) {
      parts.add(new Part(name, weight));
      return this;
    }

    /**
     * Sets the share of values that is kept. Needed by the TIES, DARE and pruning rules; nothing
     * else reads it.
     *
     * @param value in (0, 1]
     * @return this
     */
    public Builder density(double value) {
      density = value;
      return this;
    }

    /**
     * Sets how the TIES rules find the sign that counts; nothing else reads it.
     *
     * @param value {@link MajoritySign#TOTAL} if not set
     * @return this
     */
    public Builder majoritySign(MajoritySign value) {
      majoritySign = value;
      return this;
    }

    /**
     * Sets the rank of what the {@code SVD} rules give; nothing else reads it.
     *
     * @param value at least 1; if not set the largest rank among the adapters
     * @return this
     */
    public Builder svdRank(int value) {
      svdRank = value;
      return this;
    }

    /**
     * Sets the seed of what the DARE rules drop, so that a combination can be repeated. It is given
     * to the engine's generator, which all threads share.
     *
     * @param value any number
     * @return this
     */
    public Builder seed(int value) {
      seed = value;
      return this;
    }

    /**
     * Finishes the recipe.
     *
     * @return the recipe
     * @throws InvalidConfigException if there is no adapter, a name cannot be one, a number is out
     *     of range, or the rule needs a density
     */
    public LoraCombination build() {
      if (parts.isEmpty()) {
        throw new InvalidConfigException("a combination needs at least one adapter");
      }
      for (Part part : parts) {
        AdapterSet.checkName(part.adapter());
        if (!Double.isFinite(part.weight())) {
          throw new InvalidConfigException(
              "the weight of adapter '"
                  + part.adapter()
                  + "' must be finite, was "
                  + part.weight());
        }
      }
      if (density != null && !(density > 0 && density <= 1)) {
        throw new InvalidConfigException("density must be in (0, 1], was " + density);
      }
      if (density == null && type.prunes()) {
        throw new InvalidConfigException(
            "combination type "
                + type.key()
                + " needs a density in (0, 1]: the share that is kept");
      }
      if (svdRank != null && svdRank < 1) {
        throw new InvalidConfigException("svd_rank must be at least 1, was " + svdRank);
      }
      return new LoraCombination(this);
    }
  }
}
