package io.peft4j.models.generate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterSet;
import io.peft4j.PeftModel;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.TokenDecoder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * A language model with several adapters as an ensemble: the logits of each next token are the sum
 * of what the experts of its prompt give, each times a weight. All experts of all prompts are
 * computed in one pass, in which the base's part is one product; experts of weight 0 are not
 * computed. Holds nothing to close.
 *
 * <pre>{@code
 * Generator.of(ExpertsEngine.of(model, List.of("law", "medicine"), this::route), tokenizer)
 * }</pre>
 */
public final class ExpertsEngine implements TextEngine {
  private final PeftModel model;
  private final ModelEngine base;
  private final List<String> experts;
  private final Function<long[], float[]> router;

  private ExpertsEngine(
      PeftModel model, ModelEngine base, List<String> experts, Function<long[], float[]> router) {
    this.model = model;
    this.base = base;
    this.experts = experts;
    this.router = router;
  }

  /**
   * An ensemble.
   *
   * @param model a causal language model with adapters; must stay open while this is used
   * @param experts its adapters, or parts of them; {@link AdapterSet#BASE} for the base alone
   * @param router gives for the tokens of a prompt a weight for each expert, finite, not all 0
   * @return the ensemble
   * @throws InvalidInputException if the model is not a causal language model
   * @throws io.peft4j.AdapterStateException if there is no such adapter
   * @throws io.peft4j.InvalidConfigException if no expert is named
   */
  public static ExpertsEngine of(
      PeftModel model, List<String> experts, Function<long[], float[]> router) {
    model.with(AdapterSet.rows(experts));
    return new ExpertsEngine(model, ModelEngine.of(model), List.copyOf(experts), router);
  }

  @Override
  public int context() {
    return base.context();
  }

  @Override
  public ObjectNode config() {
    return base.config();
  }

  @Override
  public Optional<Path> directory() {
    return base.directory();
  }

  @Override
  public TokenDecoder start(List<long[]> prompts, int copies, int room) {
    List<long[]> rows = new ArrayList<>();
    List<String> names = new ArrayList<>();
    List<float[]> weights = new ArrayList<>();
    for (long[] prompt : prompts) {
      float[] given = router.apply(prompt.clone());
      check(given);
      List<Float> used = new ArrayList<>();
      for (int i = 0; i < given.length; i++) {
        if (given[i] != 0) {
          rows.add(prompt);
          names.add(experts.get(i));
          used.add(given[i]);
        }
      }
      float[] own = new float[used.size()];
      for (int i = 0; i < own.length; i++) {
        own[i] = used.get(i);
      }
      weights.add(own);
    }
    return new WeightedDecoder(
        CausalDecoder.start(model.with(AdapterSet.rows(names)), rows, copies, room),
        weights,
        copies);
  }

  private void check(float[] weights) {
    boolean any = false;
    boolean finite = weights.length == experts.size();
    for (float weight : weights) {
      any |= weight != 0;
      finite &= Float.isFinite(weight);
    }
    if (!any || !finite) {
      throw new InvalidInputException(
          "a prompt needs "
              + experts.size()
              + " finite weights that are not all 0, one for each of "
              + experts
              + "; given were "
              + Arrays.toString(weights));
    }
  }
}
