package io.peft4j.lora;

import java.util.Locale;

/** How the effects of LoRA at a layer are named in reports. */
final class LoraEffects {
  private LoraEffects() {}

  static String describe(LowRank factors, boolean dora, boolean bias) {
    return String.format(
        Locale.ROOT,
        "%s r=%d scaling=%s%s%s",
        dora ? "DoRA" : "LoRA",
        factors.rank(),
        factors.scalingValue(),
        factors.initial() == null ? "" : " less its beginning",
        bias ? " with bias" : "");
  }
}
