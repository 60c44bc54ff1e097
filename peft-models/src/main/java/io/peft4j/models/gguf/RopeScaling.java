package io.peft4j.models.gguf;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.FloatBuffer;
import java.util.OptionalDouble;

/**
 * Rotary embeddings that were stretched for longer contexts. llama.cpp keeps the kind and a factor
 * in the metadata, but Llama 3's and Phi-3's ways as tensors with a divisor for each frequency.
 */
final class RopeScaling {
  private static final String DIVISORS = "rope_freqs.weight";
  private static final String LONG = "rope_factors_long.weight";
  private static final String SHORT = "rope_factors_short.weight";

  // Llama 3.1, 3.2 and 3.3 all have these.
  private static final double LOW = 1;
  private static final double HIGH = 4;
  private static final double ORIGINAL = 8192;

  private RopeScaling() {}

  /** Puts {@code rope_scaling} where there is any. */
  static void put(ConfigReader reader, long head) {
    OptionalDouble factor = reader.positive("rope.scaling.factor");
    // As llama.cpp takes a factor of no kind.
    String kind = reader.word("rope.scaling.type", factor.orElse(1) == 1 ? "none" : "linear");
    OptionalDouble old = reader.positive("rope.scale_linear");
    if (reader.has(DIVISORS)) {
      if (!kind.equals("none")) {
        throw reader.refused(DIVISORS + " together with " + kind + " scaling is not implemented");
      }
      putLlama3(reader, head);
      return;
    }
    if (kind.equals("none")) {
      if (old.orElse(1) != 1) {
        putScaling(reader, "linear", old);
      }
      return;
    }
    if (!kind.equals("linear") && !kind.equals("yarn")) {
      throw reader.refused(
          "rope scaling of the kind "
              + Quotes.quote(kind)
              + " is not implemented; implemented are linear, yarn and Llama 3's");
    }
    if (factor.isEmpty()) {
      throw reader.refused("rope scaling of the kind " + kind + " without a factor");
    }
    ObjectNode scaling = putScaling(reader, kind, factor);
    if (kind.equals("yarn")) {
      scaling.put(
          "original_max_position_embeddings", reader.size("rope.scaling.original_context_length"));
    }
  }

  private static ObjectNode putScaling(ConfigReader reader, String kind, OptionalDouble factor) {
    ObjectNode scaling = reader.config().putObject("rope_scaling");
    scaling.put("rope_type", kind);
    scaling.put("factor", factor.orElse(1));
    return scaling;
  }

  /** Finds the factor, and checks that the divisors are what Llama 3's rule makes of it. */
  private static void putLlama3(ConfigReader reader, long head) {
    float[] divisors = values(reader, DIVISORS);
    double theta = reader.config().path("rope_theta").asDouble(10000);
    double factor = 1;
    for (float divisor : divisors) {
      factor = Math.max(factor, divisor);
    }
    boolean fits = divisors.length == head / 2;
    for (int i = 0; fits && i < divisors.length; i++) {
      double expected = llama3(theta, head, i, factor);
      fits = Math.abs(divisors[i] - expected) <= 1e-4 * expected;
    }
    if (!fits) {
      throw reader.refused(
          DIVISORS
              + " does not hold what Llama 3's rope scaling makes of a factor of "
              + factor
              + ", original context of 8192 and limits of 1 and 4; other scalings by tensor are not"
              + " implemented");
    }
    if (factor == 1) {
      return;
    }
    ObjectNode scaling = reader.config().putObject("rope_scaling");
    scaling.put("rope_type", "llama3");
    scaling.put("factor", factor);
    scaling.put("low_freq_factor", LOW);
    scaling.put("high_freq_factor", HIGH);
    scaling.put("original_max_position_embeddings", (long) ORIGINAL);
  }

  /** What a frequency is divided by: 1 if it is high, the factor if it is low, between between. */
  private static double llama3(double theta, long head, int index, double factor) {
    double wavelength = 2 * Math.PI * Math.pow(theta, 2.0 * index / head);
    if (wavelength < ORIGINAL / HIGH) {
      return 1;
    }
    if (wavelength > ORIGINAL / LOW) {
      return factor;
    }
    double smooth = (ORIGINAL / wavelength - LOW) / (HIGH - LOW);
    return 1 / ((1 - smooth) / factor + smooth);
  }

  /** Phi-3's: divisors for contexts up to the original length, others for longer ones. */
  static void putLong(ConfigReader reader, long rotary) {
    ObjectNode config = reader.config();
    long positions = config.get("max_position_embeddings").longValue();
    long original = reader.size("rope.scaling.original_context_length", positions);
    config.put("original_max_position_embeddings", original);
    OptionalDouble attention = reader.positive("rope.scaling.attn_factor");
    String kind = reader.word("rope.scaling.type", "longrope");
    if (!kind.equals("longrope") && !kind.equals("none")) {
      throw reader.refused("rope scaling of the kind " + Quotes.quote(kind) + " for Phi-3");
    }
    if (!reader.has(LONG) && !reader.has(SHORT)) {
      if (Math.abs(attention.orElse(1) - 1) > 1e-6) {
        throw reader.refused("rope scaling for Phi-3 without " + LONG + " and " + SHORT);
      }
      return;
    }
    ObjectNode scaling = config.putObject("rope_scaling");
    scaling.put("rope_type", "longrope");
    scaling.put("type", "longrope");
    putAll(reader, scaling.putArray("long_factor"), LONG, rotary);
    putAll(reader, scaling.putArray("short_factor"), SHORT, rotary);
    double stretch = (double) positions / original;
    double usual = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
    if (Math.abs(attention.orElse(usual) - usual) > 1e-5 * usual) {
      scaling.put("attention_factor", attention.orElse(usual));
    }
  }

  private static void putAll(ConfigReader reader, ArrayNode target, String name, long rotary) {
    if (!reader.has(name)) {
      throw reader.refused("rope scaling for Phi-3 without " + name);
    }
    float[] values = values(reader, name);
    if (values.length != rotary / 2) {
      throw reader.refused(
          name + " has " + values.length + " values; " + rotary / 2 + " are needed");
    }
    for (float value : values) {
      if (!(value > 0) || Float.isInfinite(value)) {
        throw reader.refused(name + " holds " + value + "; divisors are positive");
      }
      target.add(Double.parseDouble(Float.toString(value)));
    }
  }

  private static float[] values(ConfigReader reader, String name) {
    GgufTensor tensor = reader.file().tensor(name);
    if (tensor.elements() > 4096) {
      throw reader.refused(name + " has " + tensor.elements() + " values; heads are smaller");
    }
    float[] values = new float[(int) tensor.elements()];
    new Dequantizer(reader.file(), tensor).some(0, values.length, FloatBuffer.wrap(values));
    return values;
  }
}
