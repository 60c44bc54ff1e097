package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The angles of rotary positions, position times frequency. Frequencies are 1 / theta^(2i / size),
 * changed in one of the ways by which models reach longer contexts. They are computed by the engine
 * in float32, by the operations of transformers' {@code modeling_rope_utils} in the same order, so
 * that angles are equal in every bit.
 *
 * @param theta base of the frequencies
 * @param size how many values of a head are turned, even
 * @param scaling how frequencies are changed
 */
public record Rope(double theta, int size, Scaling scaling) {
  private static final Map<Rope, Kernel> TABLES = new ConcurrentHashMap<>();

  /** How many positions the longest row of a pass has. */
  private static final String LENGTH = "n = torch.add(torch.max(p), 1)";

  /** A way to change frequencies. */
  public sealed interface Scaling permits None, Linear, Dynamic, Yarn, LlamaThree, LongFactors {

    /**
     * Statements that make f, the frequencies, of i, the numbers 0, 2, 4 and so on in float32, of
     * e, these divided by the size, and of p, the positions.
     *
     * @param theta base of the frequencies
     * @param size how many values of a head are turned
     * @return the statements
     */
    List<String> statements(double theta, int size);

    /**
     * A factor on cosines and sines.
     *
     * @return 1 for none
     */
    default double attentionFactor() {
      return 1;
    }

    /**
     * Whether angles depend on how long the text is that a pass computes: it must then be read in
     * one pass.
     *
     * @return true if so
     */
    default boolean varies() {
      return false;
    }

    /**
     * From which length of a text on all keys are turned by other angles, so that those in a cache
     * are good no more.
     *
     * @return the last length with the angles of short texts
     */
    default int switchesAfter() {
      return Integer.MAX_VALUE;
    }

    /**
     * How many positions there are.
     *
     * @param positions {@code max_position_embeddings}
     * @return a number of at least {@code positions}
     */
    default double reach(int positions) {
      return positions;
    }
  }

  /** Frequencies as they are. */
  public record None() implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      return List.of("f = " + plain(theta));
    }
  }

  /**
   * All frequencies are divided by a factor.
   *
   * @param factor the factor
   */
  public record Linear(double factor) implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      return List.of("f = torch.div(" + plain(theta) + ", " + factor + ")");
    }

    @Override
    public double reach(int positions) {
      return Math.max(factor, 1) * positions;
    }
  }

  /**
   * The base grows with the largest position of a pass, once it is beyond what the model was
   * trained for. Keys that are in a cache keep the angles that they were turned by.
   *
   * @param factor the factor
   * @param trained how many positions the model was trained for
   */
  public record Dynamic(double factor, int trained) implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      double power = size / (size - 2.0);
      double least = theta * Math.pow(factor * trained / trained - (factor - 1), power);
      return List.of(
          LENGTH,
          "g0 = torch.sub(torch.div(torch.mul(n, %s), %s), %s)"
              .formatted(factor, trained, factor - 1),
          "g1 = torch.mul(torch.pow(g0, " + power + "), " + theta + ")",
          "g2 = torch.where(torch.gt(n, " + trained + "), g1, torch.full_like(g1, " + least + "))",
          "f = torch.reciprocal(torch.pow(g2, e))");
    }

    @Override
    public boolean varies() {
      return true;
    }

    @Override
    public double reach(int positions) {
      return Math.max(factor, 1) * positions;
    }
  }

  /**
   * Fast frequencies are kept, slow ones divided by a factor, with a ramp between.
   *
   * @param factor the factor
   * @param trained how many positions the model was trained for
   * @param low the index of the frequency where the ramp begins
   * @param high the index of the frequency where it ends, above {@code low}
   * @param attentionFactor the factor on cosines and sines
   */
  public record Yarn(double factor, int trained, double low, double high, double attentionFactor)
      implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      return List.of(
          "g0 = torch.pow(" + theta + ", e)",
          "g1 = torch.div(torch.sub(torch.div(i, 2), %s), %s)".formatted(low, high - low),
          "g2 = torch.rsub(torch.clamp(g1, 0, 1), 1)",
          "g3 = torch.reciprocal(torch.mul(g0, " + factor + "))",
          "f = torch.add(torch.mul(g3, torch.rsub(g2, 1)), torch.mul(torch.reciprocal(g0), g2))");
    }

    @Override
    public double reach(int positions) {
      return Math.max(positions, factor * trained);
    }
  }

  /**
   * Llama 3's way: long waves are divided by a factor, short ones kept, those between mixed.
   *
   * @param factor the factor
   * @param lowFactor waves longer than {@code trained / lowFactor} are long
   * @param highFactor waves shorter than {@code trained / highFactor} are short
   * @param trained how many positions the model was trained for
   */
  public record LlamaThree(double factor, double lowFactor, double highFactor, int trained)
      implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      double longest = trained / lowFactor;
      double shortest = trained / highFactor;
      return List.of(
          "g0 = " + plain(theta),
          "g1 = torch.mul(torch.reciprocal(g0), " + 2 * Math.PI + ")",
          "g2 = torch.where(torch.gt(g1, %s), torch.div(g0, %s), g0)".formatted(longest, factor),
          "g3 = torch.div(torch.sub(torch.mul(torch.reciprocal(g1), %s), %s), %s)"
              .formatted(trained, lowFactor, highFactor - lowFactor),
          "g4 = torch.div(torch.mul(torch.rsub(g3, 1), g2), " + factor + ")",
          "g5 = torch.logical_and(torch.ge(g1, %s), torch.le(g1, %s))".formatted(shortest, longest),
          "f = torch.where(g5, torch.add(g4, torch.mul(g3, g2)), g2)");
    }
  }

  /**
   * Phi-3's way: each frequency is divided by a factor of its own, out of one list as long as all
   * positions of a pass are below what the model was trained for, else out of another. A text that
   * grows beyond that is read again, as transformers does for Phi-3.
   *
   * @param shortFactors a factor for each frequency
   * @param longFactors a factor for each frequency
   * @param trained how many positions the model was trained for
   * @param attentionFactor the factor on cosines and sines
   */
  public record LongFactors(
      List<Double> shortFactors, List<Double> longFactors, int trained, double attentionFactor)
      implements Scaling {
    @Override
    public List<String> statements(double theta, int size) {
      return List.of(
          LENGTH,
          "g0 = torch.where(torch.gt(n, %s), %s, %s)"
              .formatted(trained, constant(longFactors), constant(shortFactors)),
          "f = torch.reciprocal(torch.mul(g0, torch.pow(" + theta + ", e)))");
    }

    @Override
    public boolean varies() {
      return true;
    }

    @Override
    public int switchesAfter() {
      return trained;
    }

    private static String constant(List<Double> values) {
      return "torch.tensor(" + values + ", dtype=6, device=ops.prim.device(p))";
    }
  }

  private static String plain(double theta) {
    return "torch.reciprocal(torch.pow(" + theta + ", e))";
  }

  /**
   * The frequencies of a pass, of which Rope's angles are multiples.
   *
   * @param manager where they are made
   * @param largest the largest position of the pass; matters to {@link Dynamic} and {@link
   *     LongFactors} only
   * @return float32 [size / 2]
   */
  public NDArray frequencies(NDManager manager, long largest) {
    List<String> lines = new ArrayList<>(beginning());
    lines.add("return f");
    return Kernel.of("p: Tensor -> Tensor", lines.toArray(String[]::new))
        .call(Ops.engineOwned(manager.create(new long[] {largest})));
  }

  /**
   * Cosines and sines for some positions. They belong to a pass and cost little next to it.
   *
   * @param positions int64 [batch or 1, length]
   * @return two arrays float32 [batch or 1, length, 1, size / 2]
   */
  public NDList tables(NDArray positions) {
    return TABLES.computeIfAbsent(this, Rope::kernel).callMany(positions);
  }

  /** Makes f of p. */
  private List<String> beginning() {
    List<String> lines = new ArrayList<>();
    lines.add(
        "i = torch.to(torch.arange(0, %s, 2, dtype=None, layout=None, device=ops.prim.device(p)), 6)"
            .formatted(size));
    lines.add("e = torch.div(i, " + size + ")");
    lines.addAll(scaling.statements(theta, size));
    return lines;
  }

  private static Kernel kernel(Rope rope) {
    List<String> lines = new ArrayList<>(rope.beginning());
    lines.add("a = torch.unsqueeze(torch.mul(torch.unsqueeze(torch.to(p, 6), -1), f), 2)");
    double factor = rope.scaling.attentionFactor();
    String times = factor == 1 ? "%s" : "torch.mul(%s, " + factor + ")";
    lines.add(
        "return ("
            + times.formatted("torch.cos(a)")
            + ", "
            + times.formatted("torch.sin(a)")
            + ")");
    return Kernel.of("p: Tensor -> Tuple[Tensor, Tensor]", lines.toArray(String[]::new));
  }
}
