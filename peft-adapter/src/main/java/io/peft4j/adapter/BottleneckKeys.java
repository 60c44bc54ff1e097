package io.peft4j.adapter;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.spi.ConfigKeys;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** The keys of AdapterHub's {@code BnConfig}, with its defaults and its presets. */
final class BottleneckKeys {
  static final String ATTENTION = "mh_adapter";
  static final String FEED_FORWARD = "output_adapter";
  static final String REDUCTION = "reduction_factor";
  static final String NON_LINEARITY = "non_linearity";
  static final String ORIGINAL_BEFORE = "original_ln_before";
  static final String ORIGINAL_AFTER = "original_ln_after";
  static final String NORM_BEFORE = "ln_before";
  static final String NORM_AFTER = "ln_after";
  static final String INIT = "init_weights";
  static final String SEED = "init_weights_seed";
  static final String PARALLEL = "is_parallel";
  static final String SCALING = "scaling";
  static final String GATING = "use_gating";
  static final String RESIDUAL = "residual_before_ln";
  static final String RESIDUAL_BEFORE_AFTER = "adapter_residual_before_ln";
  static final String LEAVE_OUT = "leave_out";
  static final String DROPOUT = "dropout";
  static final String DEPTH = "stochastic_depth";

  /** Understood, or without meaning as long as {@link #UNIMPLEMENTED} say nothing. */
  static final Set<String> KNOWN =
      Set.of(
          ATTENTION,
          FEED_FORWARD,
          REDUCTION,
          NON_LINEARITY,
          ORIGINAL_BEFORE,
          ORIGINAL_AFTER,
          NORM_BEFORE,
          NORM_AFTER,
          INIT,
          SEED,
          PARALLEL,
          SCALING,
          GATING,
          RESIDUAL,
          RESIDUAL_BEFORE_AFTER,
          LEAVE_OUT,
          DROPOUT,
          DEPTH,
          "inv_adapter_reduction_factor",
          "phm_dim",
          "factorized_phm_W",
          "shared_W_phm",
          "shared_phm_rule",
          "factorized_phm_rule",
          "phm_c_init",
          "phm_init_range",
          "learn_phm",
          "hypercomplex_nonlinearity",
          "phm_rank",
          "phm_bias");

  /** What users set. */
  static final Set<String> SETTINGS =
      Set.of(
          ATTENTION,
          FEED_FORWARD,
          REDUCTION,
          NON_LINEARITY,
          ORIGINAL_BEFORE,
          ORIGINAL_AFTER,
          NORM_BEFORE,
          NORM_AFTER,
          INIT,
          PARALLEL,
          SCALING,
          GATING,
          RESIDUAL,
          RESIDUAL_BEFORE_AFTER,
          LEAVE_OUT,
          DROPOUT,
          DEPTH);

  static final Set<String> UNIMPLEMENTED =
      Set.of("inv_adapter", "phm_layer", "cross_adapter", "architecture");

  private BottleneckKeys() {}

  /** Everything but where adapters stand, how wide they are and what is between. */
  static ObjectNode defaults() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put(ATTENTION, false).put(FEED_FORWARD, true);
    json.put(REDUCTION, 16).put(NON_LINEARITY, "relu");
    json.put(ORIGINAL_BEFORE, false).put(ORIGINAL_AFTER, true);
    json.put(NORM_BEFORE, false).put(NORM_AFTER, false);
    json.putNull(INIT).putNull(SEED);
    json.put(PARALLEL, false).put(SCALING, 1.0).put(GATING, false);
    json.put(RESIDUAL, true).put(RESIDUAL_BEFORE_AFTER, false);
    json.putNull("inv_adapter").putNull("inv_adapter_reduction_factor");
    json.put("cross_adapter", false).putArray(LEAVE_OUT);
    json.put(DROPOUT, 0.0).put("phm_layer", false).put("phm_dim", 4);
    json.put("factorized_phm_W", true).put("shared_W_phm", false).put("shared_phm_rule", true);
    json.put("factorized_phm_rule", false).put("phm_c_init", "normal");
    json.put("phm_init_range", 0.0001).put("learn_phm", true);
    json.put("hypercomplex_nonlinearity", "glorot-uniform");
    json.put("phm_rank", 1).put("phm_bias", true).put(DEPTH, 0.0);
    return json;
  }

  /** What a preset says, by AdapterHub's names. */
  static Map<String, ObjectNode> presets() {
    Map<String, ObjectNode> presets = new TreeMap<>();
    presets.put("seq_bn", defaults().put(ORIGINAL_BEFORE, true));
    presets.put("pfeiffer", defaults().put(ORIGINAL_BEFORE, true));
    ObjectNode twice = defaults().put(ATTENTION, true).put(NON_LINEARITY, "swish");
    presets.put("double_seq_bn", twice);
    presets.put("houlsby", twice.deepCopy());
    ObjectNode parallel = defaults().put(PARALLEL, true).put(REDUCTION, 2).put(SCALING, 4.0);
    parallel.put(INIT, Initialization.MAM_ADAPTER.key());
    presets.put("par_bn", parallel);
    presets.put("parallel", parallel.deepCopy());
    presets.put("scaled_par_bn", parallel.deepCopy().put(SCALING, "learned"));
    ObjectNode plus = defaults().put(ORIGINAL_BEFORE, true).put(ORIGINAL_AFTER, false);
    plus.put(RESIDUAL, false).put(DEPTH, 0.1).put(SCALING, "channel");
    plus.put(REDUCTION, 96).put(NON_LINEARITY, "gelu");
    presets.put("adapter_plus", plus.put(INIT, Initialization.HOULSBY.key()));
    return presets;
  }

  static NonLinearity nonLinearity(ConfigKeys keys) {
    for (NonLinearity candidate : NonLinearity.values()) {
      if (candidate.key().equalsIgnoreCase(keys.value(NON_LINEARITY).asText())) {
        return candidate;
      }
    }
    throw keys.wrong(
        NON_LINEARITY, "one of relu, gelu, gelu_new, silu, swish, tanh, leaky_relu, leakyrelu");
  }

  static AdapterResidual residual(ConfigKeys keys) {
    for (AdapterResidual candidate : AdapterResidual.values()) {
      if (candidate.value().equals(keys.value(RESIDUAL))) {
        return candidate;
      }
    }
    throw keys.wrong(RESIDUAL, "true, false or \"post_add\"");
  }

  static Scaling scaling(ConfigKeys keys) {
    JsonNode value = keys.value(SCALING);
    if (value.isNumber() && Float.isFinite(value.floatValue())) {
      return Scaling.fixed(value.doubleValue());
    }
    if (value.asText().equals("learned")) {
      return Scaling.LEARNED;
    }
    if (value.asText().equals("channel")) {
      return Scaling.CHANNEL;
    }
    throw keys.wrong(SCALING, "a finite number, \"learned\" or \"channel\"");
  }

  /** Layer to factor; the one for all others under {@code default}. */
  static Map<String, Double> reduction(ConfigKeys keys) {
    JsonNode value = keys.value(REDUCTION);
    Map<String, Double> factors = new LinkedHashMap<>();
    if (value.isObject()) {
      value
          .properties()
          .forEach(
              entry -> factors.put(layer(keys, entry.getKey()), factor(keys, entry.getValue())));
    } else {
      factors.put("default", factor(keys, value));
    }
    return factors;
  }

  private static String layer(ConfigKeys keys, String name) {
    if (!name.equals("default") && !name.matches("0|[1-9][0-9]{0,8}")) {
      throw keys.wrong(REDUCTION, "a map from layers' indexes and \"default\"");
    }
    return name;
  }

  private static double factor(ConfigKeys keys, JsonNode value) {
    double factor = value.doubleValue();
    if (!value.isNumber() || !(factor > 0) || Double.isInfinite(factor)) {
      throw keys.wrong(REDUCTION, "a number above 0, or a map from layers to such numbers");
    }
    return factor;
  }
}
