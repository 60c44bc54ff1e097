package io.peft4j.train;

import io.peft4j.InvalidConfigException;
import io.peft4j.TrainableParameter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Stream;

/**
 * Rules that divide parameters into groups, for {@link TrainerBuilder#parameterGroups}.
 *
 * <pre>{@code
 * ParameterGroups.withDecay(0.1).noDecayForBiasesAndNorms().loraPlus(16, 2e-4).adapter("style", 0.5)
 * }</pre>
 *
 * <p>Rules of different kinds (LoRA+, adapters, patterns) act together: their factors multiply. Two
 * adapters or two patterns that fit the same parameter are an error, and so is a rule that fits
 * none. No parameter is left out. Immutable: each method returns new groups.
 */
public final class ParameterGroups
    implements Function<List<TrainableParameter>, List<ParameterGroup>> {
  /** The rate of LoRA on embeddings where none is given, as in PEFT. */
  public static final double EMBEDDING_RATE = 1e-6;

  /** What transformers' trainer takes for norms by their names. */
  private static final Pattern NORM =
      Pattern.compile("layer_?norm|rmsnorm|(?:^|\\.)norm(?:$|\\.)|_norm(?:$|\\.)|\\bln_?[0-9f]");

  private static final Pattern LORA_EMBEDDING = Pattern.compile("\\.lora_embedding_[AB]$");

  private enum Kind {
    LORA_PLUS,
    LORA_PLUS_EMBEDDING,
    ADAPTER,
    PATTERN
  }

  /** What is trained faster or slower; a rule that need not fit is silent if it does not. */
  private record Rule(
      Kind kind, String name, boolean needed, double factor, Predicate<TrainableParameter> fits) {}

  private final double weightDecay;
  private final boolean decayAll;
  private final List<Rule> rules;

  private ParameterGroups(double weightDecay, boolean decayAll, List<Rule> rules) {
    this.weightDecay = weightDecay;
    this.decayAll = decayAll;
    this.rules = rules;
  }

  /**
   * Starts with all parameters at the same rate.
   *
   * @param weightDecay decoupled weight decay of all, from 0
   * @return the groups
   * @throws InvalidConfigException if the decay is negative or not finite
   */
  public static ParameterGroups withDecay(double weightDecay) {
    OptimizerSettings.checkNotNegative("the weight decay", weightDecay);
    return new ParameterGroups(weightDecay, true, List.of());
  }

  /**
   * Takes the decay from biases and from the weights of norms, told by their names as transformers'
   * trainer tells them.
   *
   * @return the groups
   */
  public ParameterGroups noDecayForBiasesAndNorms() {
    return new ParameterGroups(weightDecay, false, rules);
  }

  /**
   * LoRA+ as PEFT's {@code create_loraplus_optimizer} groups it, with LoRA on embeddings at {@link
   * #EMBEDDING_RATE}.
   *
   * @param ratio how many times faster B matrices and vectors are trained, above 0
   * @param learningRate the trainer's learning rate, of which the embeddings' is a share
   * @return the groups
   * @throws InvalidConfigException if a number is not above 0
   */
  public ParameterGroups loraPlus(double ratio, double learningRate) {
    return loraPlus(ratio, learningRate, EMBEDDING_RATE);
  }

  /**
   * LoRA+ as PEFT's {@code create_loraplus_optimizer} groups it: B matrices and everything with one
   * dimension at a multiple of the rate, what LoRA adds to embeddings at a rate of its own, the
   * rest at the rate. PEFT decays no biases and norms: {@link #noDecayForBiasesAndNorms} does that.
   *
   * @param ratio how many times faster B matrices and vectors are trained, above 0
   * @param learningRate the trainer's learning rate, above 0
   * @param embeddingRate the learning rate of LoRA on embeddings, above 0
   * @return the groups
   * @throws InvalidConfigException if a number is not above 0
   */
  public ParameterGroups loraPlus(double ratio, double learningRate, double embeddingRate) {
    Predicate<TrainableParameter> embedding = p -> LORA_EMBEDDING.matcher(p.name()).find();
    Predicate<TrainableParameter> fast =
        p -> p.name().contains("lora_B") || p.array().getShape().dimension() == 1;
    return with(new Rule(Kind.LORA_PLUS, "LoRA+", false, ratio, embedding.negate().and(fast)))
        .with(
            new Rule(
                Kind.LORA_PLUS_EMBEDDING,
                "LoRA+ for embeddings",
                false,
                embeddingRate / learningRate,
                embedding));
  }

  /**
   * Trains an adapter faster or slower.
   *
   * @param name the adapter
   * @param factor multiplies the learning rate, above 0
   * @return the groups
   * @throws InvalidConfigException if the factor is not above 0
   */
  public ParameterGroups adapter(String name, double factor) {
    return with(
        new Rule(
            Kind.ADAPTER,
            "adapter '" + name + "'",
            true,
            factor,
            parameter -> parameter.adapter().equals(name)));
  }

  /**
   * Trains what has a name faster or slower.
   *
   * @param regularExpression is searched for in adapter and state key, joined with a dot
   * @param factor multiplies the learning rate, above 0
   * @return the groups
   * @throws InvalidConfigException if it is no regular expression or the factor is not above 0
   */
  public ParameterGroups matching(String regularExpression, double factor) {
    Pattern pattern;
    try {
      pattern = Pattern.compile(regularExpression);
    } catch (PatternSyntaxException e) {
      throw new InvalidConfigException(
          "'" + regularExpression + "' is no regular expression: " + e.getDescription());
    }
    return with(
        new Rule(
            Kind.PATTERN,
            "pattern '" + regularExpression + "'",
            true,
            factor,
            parameter -> pattern.matcher(Parameters.key(parameter)).find()));
  }

  private ParameterGroups with(Rule rule) {
    if (!(rule.factor > 0) || !Double.isFinite(rule.factor)) {
      throw new InvalidConfigException(
          rule.name + ": the learning rate's factor must be above 0, was " + rule.factor);
    }
    List<Rule> all = Stream.concat(rules.stream(), Stream.of(rule)).toList();
    return new ParameterGroups(weightDecay, decayAll, all);
  }

  /**
   * Divides parameters.
   *
   * @param parameters all that is trained
   * @return groups in the order of their first parameters
   * @throws InvalidConfigException if a rule fits no parameter, or two of a kind fit one
   */
  @Override
  public List<ParameterGroup> apply(List<TrainableParameter> parameters) {
    checkRules(parameters);
    record Alike(double factor, double decay) {}
    Map<Alike, List<TrainableParameter>> groups = new LinkedHashMap<>();
    for (TrainableParameter parameter : parameters) {
      double factor = 1;
      for (Rule rule : rules) {
        factor *= rule.fits.test(parameter) ? rule.factor : 1;
      }
      double decay = decayAll || isDecayed(parameter) ? weightDecay : 0;
      groups.computeIfAbsent(new Alike(factor, decay), key -> new ArrayList<>()).add(parameter);
    }
    return groups.entrySet().stream()
        .map(e -> new ParameterGroup(e.getValue(), e.getKey().factor(), e.getKey().decay()))
        .toList();
  }

  private static boolean isDecayed(TrainableParameter parameter) {
    String name = parameter.name().toLowerCase(Locale.ROOT);
    return !name.contains("bias") && !NORM.matcher(name).find();
  }

  private void checkRules(List<TrainableParameter> parameters) {
    for (Rule rule : rules) {
      if (rule.needed && parameters.stream().noneMatch(rule.fits)) {
        throw new InvalidConfigException(
            rule.name
                + " fits none of the "
                + parameters.size()
                + " parameters"
                + (parameters.isEmpty()
                    ? ""
                    : ", for example " + Parameters.key(parameters.get(0))));
      }
    }
    boolean loraPlus = rules.stream().anyMatch(rule -> rule.kind == Kind.LORA_PLUS);
    if (loraPlus
        && rules.stream()
            .filter(rule -> rule.kind == Kind.LORA_PLUS || rule.kind == Kind.LORA_PLUS_EMBEDDING)
            .noneMatch(rule -> parameters.stream().anyMatch(rule.fits))) {
      throw new InvalidConfigException("LoRA+ finds no B matrices: is a LoRA adapter trained?");
    }
    for (TrainableParameter parameter : parameters) {
      Map<Kind, Rule> fitting = new LinkedHashMap<>();
      for (Rule rule : rules) {
        Rule other = rule.fits.test(parameter) ? fitting.put(rule.kind, rule) : null;
        if (other != null) {
          throw new InvalidConfigException(
              Parameters.key(parameter)
                  + " is in two groups: "
                  + other.name
                  + " and "
                  + rule.name
                  + " both fit it");
        }
      }
    }
  }
}
