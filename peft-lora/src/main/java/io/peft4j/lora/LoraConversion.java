package io.peft4j.lora;

import java.util.LinkedHashMap;
import java.util.Map;

/** The configuration of an adapter that began with a part of the base, saved as plain LoRA. */
final class LoraConversion {
  private LoraConversion() {}

  /** The same scalings with twice the rank everywhere. */
  static LoraConfig doubled(LoraConfig config) {
    // alpha/r is kept by 2·alpha, alpha/√r by √2·alpha.
    double factor = config.useRslora() ? Math.sqrt(2) : 2;
    Map<String, Integer> ranks = new LinkedHashMap<>();
    config.rankPattern().entries().forEach((key, rank) -> ranks.put(key, 2 * rank));
    Map<String, Double> alphas = new LinkedHashMap<>();
    config.alphaPattern().entries().forEach((key, alpha) -> alphas.put(key, factor * alpha));
    return config.toBuilder()
        .rank(2 * config.rank())
        .alpha(factor * config.alpha())
        .rankPattern(ranks)
        .alphaPattern(alphas)
        .initialization(LoraInitialization.DEFAULT)
        .build();
  }
}
