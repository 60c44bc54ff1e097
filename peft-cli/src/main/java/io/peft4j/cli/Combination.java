package io.peft4j.cli;

import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.lora.LoraCombination;
import io.peft4j.lora.LoraCombination.MajoritySign;
import io.peft4j.lora.LoraCombination.Type;
import java.util.Locale;
import java.util.Map;

/**
 * An adapter to make out of others.
 *
 * @param name its name
 * @param recipe which others, with what weights, by what rule
 */
record Combination(String name, LoraCombination recipe) {
  private static final String OPTION = "--combine";

  /** Reads {@code NEW=TYPE:a=0.7,b=-0.4,density=0.5,svd_rank=4}. */
  static Combination parse(String text) {
    int equals = text.indexOf('=');
    int colon = text.indexOf(':');
    if (equals < 1 || colon < equals || colon == text.length() - 1) {
      throw new InvalidConfigException(
          OPTION
              + " is NEW=TYPE:a=0.7,b=-0.4[,density=0.5][,svd_rank=4]; given was '"
              + text
              + "'");
    }
    String name = AdapterSet.checkName(text.substring(0, equals).strip());
    LoraCombination.Builder recipe =
        LoraCombination.builder().type(Type.of(text.substring(equals + 1, colon).strip()));
    for (Map.Entry<String, String> pair :
        Pairs.parse(OPTION, text.substring(colon + 1)).entrySet()) {
      String key = pair.getKey();
      String value = pair.getValue();
      switch (key) {
        case "density" -> recipe.density(Pairs.number(OPTION, key, value));
        case "svd_rank" -> recipe.svdRank(Pairs.integer(OPTION, key, value));
        case "seed" -> recipe.seed(Pairs.integer(OPTION, key, value));
        case "majority_sign_method" -> recipe.majoritySign(majoritySign(value));
        default -> recipe.adapter(key, Pairs.number(OPTION, "the weight of " + key, value));
      }
    }
    return new Combination(name, recipe.build());
  }

  private static MajoritySign majoritySign(String value) {
    for (MajoritySign sign : MajoritySign.values()) {
      if (sign.name().toLowerCase(Locale.ROOT).equals(value)) {
        return sign;
      }
    }
    throw new InvalidConfigException(
        OPTION + ": majority_sign_method is total or frequency; given was '" + value + "'");
  }
}
