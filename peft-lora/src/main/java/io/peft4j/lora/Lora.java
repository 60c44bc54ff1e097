package io.peft4j.lora;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftModel;
import io.peft4j.spi.Adapter;
import io.peft4j.state.AdapterState;
import io.peft4j.target.ModelLayout;
import io.peft4j.target.TargetSelection;
import io.peft4j.torch.GradMode;
import java.util.ArrayList;
import java.util.List;

/** What LoRA adapters can do that adapters of other kinds cannot. */
public final class Lora {
  private Lora() {}

  /**
   * Combines adapters into a new one, which neither acts nor is trained until it is asked to. The
   * adapters it was made from stay as they are; PiSSA and OLoRA adapters count as what they are
   * saved as, plain LoRA of twice the rank. {@link LoraCombination.Type} says what each rule
   * computes.
   *
   * <p>The new configuration is that of the first adapter with the targets of all (whole paths, if
   * the adapters restrict their targets differently), without patterns, and with alpha equal to the
   * rank: all weights and scalings are in the tensors. A module that one adapter has trained whole
   * ({@code modules_to_save}) goes over as it is, whatever the adapter's weight; PEFT gives the new
   * adapter the base's module instead.
   *
   * @param model the model
   * @param name letters, digits, {@code _} and {@code -}; not in use
   * @param combination which adapters, with what weights, by what rule
   * @throws AdapterStateException if an adapter does not exist, or the name is in use
   * @throws InvalidConfigException if an adapter is not LoRA, or has what cannot be combined: DoRA,
   *     {@code lora_bias}, trained biases or tokens; if two have trained the same module whole; or
   *     if the rule needs equal ranks and they differ
   */
  public static void addWeightedAdapter(PeftModel model, String name, LoraCombination combination) {
    if (model.adapterNames().contains(name)) {
      throw new AdapterStateException("there is an adapter '" + name + "' already");
    }
    List<Adapter> held = new ArrayList<>();
    try (GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      List<CombinationSource> sources = new ArrayList<>();
      for (LoraCombination.Part part : combination.parts()) {
        Adapter adapter = model.adapter(part.adapter());
        adapter.retain();
        held.add(adapter);
        sources.add(source(part, adapter, model));
      }
      combination.seed().ifPresent(Engine.getEngine("PyTorch")::setRandomSeed);
      AdapterCombiner.Combined combined =
          new AdapterCombiner(combination, model.layout(), sources).combine();
      model.addAdapter(name, combined.config(), combined.tensors());
    } finally {
      held.forEach(Adapter::release);
    }
  }

  private static CombinationSource source(
      LoraCombination.Part part, Adapter adapter, PeftModel model) {
    if (!(adapter.config() instanceof LoraConfig)) {
      throw new InvalidConfigException(
          "only LoRA adapters can be combined; '"
              + part.adapter()
              + "' is of type "
              + adapter.config().peftType());
    }
    // The saved form: a PiSSA adapter has another configuration there than in memory.
    AdapterState state = adapter.state();
    return new CombinationSource(
        part.adapter(),
        part.weight(),
        LoraConfig.fromJson(state.config()),
        state.tensors(),
        model.layout());
  }

  /**
   * What a configuration selects on a model, with PEFT's defaults filled in: the layers of the
   * architecture where none are named, and the head of the task among the modules to save. Needs no
   * weights.
   *
   * @param config the configuration
   * @param layout the model
   * @return what {@link io.peft4j.target.TargetMatcher} matches
   * @throws io.peft4j.InvalidConfigException if no layers are named and the architecture has no
   *     default
   */
  public static TargetSelection selection(LoraConfig config, ModelLayout layout) {
    return LoraTargets.selection(config, layout);
  }

  /**
   * The low-rank product closest to a matrix: s·B·A of its largest singular values, shared between
   * A and B as PiSSA does.
   *
   * @param matrix float32 [out, in]
   * @param rank from 1 to min(out, in)
   * @param scaling s, above 0
   * @param iterations power iterations of the randomized decomposition; 0 for the exact one
   * @return A [rank, in] and B [out, rank], float32, the caller's scope's
   * @throws InvalidConfigException if the rank is larger
   */
  public static Factors closest(NDArray matrix, int rank, double scaling, int iterations) {
    long largest = Math.min(matrix.getShape().get(0), matrix.getShape().get(1));
    if (rank > largest) {
      throw new InvalidConfigException(
          "a matrix of shape "
              + matrix.getShape()
              + " has at most "
              + largest
              + " singular values, but the rank is "
              + rank);
    }
    Factors wide = LoraInitializer.pissa(matrix, rank, scaling, iterations);
    return new Factors(LinearAlgebra.narrow(wide.a()), LinearAlgebra.narrow(wide.b()));
  }
}
