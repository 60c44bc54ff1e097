package io.peft4j.models.decoder;

import io.peft4j.models.ConfigValues;
import java.util.Set;

/**
 * Reads rotary positions. transformers 4 has {@code rope_theta} and perhaps {@code rope_scaling},
 * transformers 5 has {@code rope_parameters} with all of it.
 */
public final class RopeReader {
  private static final String SCALING = "rope_scaling";
  private static final String PARAMETERS = "rope_parameters";
  private static final String THETA = "rope_theta";
  private static final String PARTIAL = "partial_rotary_factor";
  private static final String TRAINED = "original_max_position_embeddings";
  private static final Set<String> KINDS =
      Set.of("default", "linear", "dynamic", "yarn", "llama3", "longrope");

  private final ConfigValues config;
  private final int headSize;
  private final int positions;

  /**
   * A reader of one configuration.
   *
   * @param config the keys of {@code config.json}
   * @param headSize size of a head
   * @param positions {@code max_position_embeddings}
   */
  public RopeReader(ConfigValues config, int headSize, int positions) {
    this.config = config;
    this.headSize = headSize;
    this.positions = positions;
  }

  /**
   * Rotary positions of whole heads, the same in all layers.
   *
   * @return the angles
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public Rope read() {
    refusePartial(config);
    ConfigValues rope = given();
    refusePartial(rope);
    return read(rope, kind(rope), theta(rope, 10000), headSize, trained(rope, positions));
  }

  /**
   * Rotary positions in Phi-3's way: perhaps of a part of each head, and what is called {@code su}
   * or {@code yarn} is {@code longrope}.
   *
   * @param trained {@code original_max_position_embeddings} where it is absent
   * @return the angles
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public Rope readPartial(int trained) {
    ConfigValues rope = given();
    Set<String> kinds = Set.of("default", "longrope", "su", "yarn");
    String kind = rope.choice("rope_type", rope.choice("type", "default", kinds), kinds);
    ConfigValues holder = rope.has(PARTIAL) ? rope : config;
    double part = holder.positive(PARTIAL, 1);
    int size = (int) Math.min(headSize * part, 1 << 24);
    if (part > 1 || size < 2 || size % 2 != 0) {
      throw holder.wrong(PARTIAL, "at most 1 and such that an even part of a head is turned");
    }
    return read(
        rope,
        kind.equals("default") ? kind : "longrope",
        theta(rope, 10000),
        size,
        config.size(TRAINED, trained));
  }

  /**
   * Rotary positions in Gemma 3's way: other ones for layers with a window.
   *
   * @param sliding whether those of layers with a window are meant
   * @return the angles
   * @throws io.peft4j.InvalidConfigException if the configuration is wrong or asks for what is not
   *     implemented
   */
  public Rope readLayered(boolean sliding) {
    refusePartial(config);
    ConfigValues both = config.inner(PARAMETERS);
    String key = sliding ? "sliding_attention" : "full_attention";
    if (both.has("rope_type") || both.has(THETA)) {
      throw config.wrong(PARAMETERS, "an object with full_attention and sliding_attention");
    }
    // rope_scaling goes over what is in rope_parameters, key by key, and is of full layers only.
    ConfigValues rope = both.inner(key);
    if (!sliding && hasSome(SCALING)) {
      if (both.has(key)) {
        throw config.wrong(SCALING, "absent beside rope_parameters");
      }
      rope = config.inner(SCALING);
    }
    refusePartial(rope);
    rope.refuse("truncate");
    double theta =
        sliding
            ? config.positive("rope_local_base_freq", 10000)
            : config.positive(THETA, 1_000_000);
    int trained = rope.size(TRAINED, positions);
    return read(rope, kind(rope), rope.positive(THETA, theta), headSize, trained);
  }

  private ConfigValues given() {
    return config.inner(hasSome(SCALING) ? SCALING : PARAMETERS);
  }

  private boolean hasSome(String key) {
    return config.has(key) && !config.inner(key).isEmpty();
  }

  private static String kind(ConfigValues rope) {
    return rope.choice("rope_type", rope.choice("type", "default", KINDS), KINDS);
  }

  private double theta(ConfigValues rope, double absent) {
    return rope.positive(THETA, config.positive(THETA, absent));
  }

  /** A key beside the object goes before the one in it, as transformers has it. */
  private int trained(ConfigValues rope, int absent) {
    return config.size(TRAINED, rope.size(TRAINED, absent));
  }

  private static void refusePartial(ConfigValues values) {
    if (values.positive(PARTIAL, 1) != 1) {
      throw values.wrong(PARTIAL, "1, the only one implemented for this family");
    }
  }

  private Rope read(ConfigValues rope, String kind, double theta, int size, int trained) {
    rope.refuse("mrope_section");
    Rope.Scaling scaling =
        switch (kind) {
          case "linear" -> new Rope.Linear(rope.positive("factor"));
          case "dynamic" -> dynamic(rope, size);
          case "yarn" -> yarn(rope, theta, size, trained);
          case "llama3" -> llamaThree(rope, trained);
          case "longrope" -> longFactors(rope, size, trained);
          default -> new Rope.None();
        };
    return new Rope(theta, size, scaling);
  }

  private Rope.Scaling dynamic(ConfigValues rope, int size) {
    if (size < 4) {
      throw rope.wrong("rope_type", "another than dynamic for heads of two values");
    }
    return new Rope.Dynamic(rope.positive("factor"), positions);
  }

  private Rope.Scaling yarn(ConfigValues rope, double theta, int size, int trained) {
    if (theta == 1) {
      throw rope.wrong(THETA, "another than 1 with yarn");
    }
    double factor = rope.positive("factor", (double) positions / trained);
    double inferred =
        rope.has("mscale") && rope.has("mscale_all_dim")
            ? magnitude(factor, rope.positive("mscale", 1))
                / magnitude(factor, rope.positive("mscale_all_dim", 1))
            : magnitude(factor, 1);
    double low = place(rope.positive("beta_fast", 32), theta, size, trained);
    double high = place(rope.positive("beta_slow", 1), theta, size, trained);
    if (rope.flag("truncate", true)) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, size - 1);
    if (low == high) {
      high += 0.001;
    }
    return new Rope.Yarn(factor, trained, low, high, rope.positive("attention_factor", inferred));
  }

  private static double magnitude(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  }

  /** The index of the frequency that makes so many turns over the trained positions. */
  private static double place(double turns, double theta, int size, int trained) {
    return size * Math.log(trained / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static Rope.Scaling llamaThree(ConfigValues rope, int trained) {
    double low = rope.positive("low_freq_factor");
    double high = rope.positive("high_freq_factor");
    if (!(high > low)) {
      throw rope.wrong("high_freq_factor", "above low_freq_factor, " + low);
    }
    return new Rope.LlamaThree(rope.positive("factor"), low, high, trained);
  }

  private Rope.Scaling longFactors(ConfigValues rope, int size, int trained) {
    double factor = rope.positive("factor", (double) positions / trained);
    if (factor > 1 && trained == 1) {
      throw rope.wrong(TRAINED, "above 1");
    }
    double inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(trained));
    return new Rope.LongFactors(
        rope.positives("short_factor", size / 2),
        rope.positives("long_factor", size / 2),
        trained,
        rope.positive("attention_factor", inferred));
  }
}
