package io.peft4j.nn;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.index.NDIndex;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Precision;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Linear layers with a common input in a training step whose gradients are computed by hand: y =
 * x·Wᵀ + b + (x·Aᵀ)·Bᵀ for each layer, where A and B hold the low-rank products of all adapters
 * that act there, B scaled. Holds no arrays but the adapters' own; what its methods make is the
 * caller's scope's.
 */
public final class LowRankLinear {
  private final List<Weight> weights = new ArrayList<>();
  private final List<@Nullable NDArray> biases = new ArrayList<>();
  private final List<List<Term>> terms = new ArrayList<>();

  private record Term(LowRankTerm product, float strength) {
    boolean trained() {
      return product.a().hasGradient() || product.b().hasGradient();
    }
  }

  /**
   * Collects what acts.
   *
   * @param pass weights and adapters; one segment
   * @param layers layers with a common input, without {@linkplain #obstacle obstacles}
   */
  public LowRankLinear(Pass pass, List<Linear> layers) {
    Segment segment = pass.segments().get(0);
    for (Linear layer : layers) {
      weights.add(layer.weight(pass, segment));
      biases.add(layer.bias(pass, segment));
      List<Term> acting = new ArrayList<>();
      for (int i = 0; i < segment.adapters().size(); i++) {
        LayerAdapter adapter = segment.adapters().get(i).layer(layer.spec().slot());
        LowRankTerm product = adapter == null ? null : adapter.lowRank();
        if (product != null) {
          acting.add(new Term(product, segment.strengths()[i]));
        }
      }
      terms.add(acting);
    }
  }

  /**
   * Why a layer's gradients cannot be computed so, if so.
   *
   * @param pass weights and adapters
   * @param layer a layer
   * @return the reason, fit to stand after the layer's path; null if they can
   */
  public static @Nullable String obstacle(Pass pass, Layer layer) {
    if (pass.segments().size() > 1) {
      return "rows have adapters of their own";
    }
    Segment segment = pass.segments().get(0);
    if (layer.overridden(segment)) {
      return "an adapter brings its own weight or bias";
    }
    for (Acting adapter : segment.adapters()) {
      LayerAdapter effect = adapter.layer(layer.spec().slot());
      LowRankTerm product = effect == null ? null : effect.lowRank();
      if (effect != null && product == null) {
        return "what acts is more than a low-rank product";
      }
      if (product != null && product.dropout() > 0 && pass.dropout()) {
        return "dropout acts on the input of an adapter";
      }
    }
    return null;
  }

  /**
   * What the products are computed in.
   *
   * @return the precision of all weights; null if they differ
   */
  public @Nullable Precision precision() {
    Precision first = weights.get(0).precision();
    return weights.stream().allMatch(weight -> weight.precision() == first) ? first : null;
  }

  /**
   * How many layers these are.
   *
   * @return number of layers
   */
  public int size() {
    return weights.size();
  }

  /**
   * The weights of the layers, made just before use where they are stored otherwise.
   *
   * @return arrays as {@link Weight#source} gives them
   */
  public List<NDArray> weights() {
    return weights.stream().map(Weight::source).toList();
  }

  /** Says that {@link #weights} have been read and are not needed for now. */
  public void weightsRead() {
    weights.forEach(Weight::sourceRead);
  }

  /**
   * The biases of the layers.
   *
   * @return float32 arrays, all of them or none
   */
  public List<NDArray> biases() {
    List<NDArray> all = new ArrayList<>();
    for (NDArray bias : biases) {
      if (bias != null) {
        all.add(bias);
      }
    }
    return all;
  }

  /**
   * The ranks of the layers.
   *
   * @return for each layer the sum of the ranks of what acts there
   */
  public List<Long> ranks() {
    return terms.stream()
        .map(all -> all.stream().mapToLong(t -> t.product.a().getShape().get(0)).sum())
        .toList();
  }

  /**
   * Tells whether an adapter that is trained acts.
   *
   * @return true if one does
   */
  public boolean trained() {
    return terms.stream().flatMap(List::stream).anyMatch(Term::trained);
  }

  /**
   * The A of all layers, one below the other.
   *
   * @return float32 [ranks together, in]; at least one product must act
   */
  public NDArray a() {
    NDList parts = new NDList();
    terms.stream().flatMap(List::stream).forEach(term -> parts.add(term.product.a()));
    return parts.size() == 1 ? parts.head() : NDArrays.concat(parts);
  }

  /**
   * The scaled B of each layer where something acts.
   *
   * @return float32 [out, rank] arrays
   */
  public List<NDArray> b() {
    List<NDArray> all = new ArrayList<>();
    for (List<Term> acting : terms) {
      NDList parts = new NDList();
      for (Term term : acting) {
        parts.add(term.product.b().mul(scale(term)));
      }
      if (!parts.isEmpty()) {
        all.add(parts.size() == 1 ? parts.head() : NDArrays.concat(parts, 1));
      }
    }
    return all;
  }

  private static NDArray scale(Term term) {
    return Ops.scale(term.product.scaling(), term.strength);
  }

  /**
   * Adds gradients to those that the trained adapters hold.
   *
   * @param a the gradient of {@link #a}
   * @param b for each of {@link #b} the transposed gradient of the product with the scale left out:
   *     float32 [rank, out]
   */
  public void accumulate(NDArray a, List<NDArray> b) {
    Gradients gradients = new Gradients();
    long row = 0;
    int layer = 0;
    for (List<Term> acting : terms) {
      long column = 0;
      for (Term term : acting) {
        long rank = term.product.a().getShape().get(0);
        if (term.product.a().hasGradient()) {
          gradients.add(term.product.a(), a.get(new NDIndex().addSliceDim(row, row + rank)));
        }
        if (term.product.b().hasGradient()) {
          NDArray part = b.get(layer).get(new NDIndex().addSliceDim(column, column + rank));
          gradients.add(term.product.b(), part.transpose().mul(scale(term)));
        }
        row += rank;
        column += rank;
      }
      layer += acting.isEmpty() ? 0 : 1;
    }
    gradients.accumulate();
  }
}
