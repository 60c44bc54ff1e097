package io.peft4j.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.TextNode;
import io.peft4j.InvalidConfigException;
import java.util.Locale;

/**
 * How the matrices of a new adapter begin: {@code init_lora_weights}.
 *
 * @param kind the rule
 * @param iterations power iterations of the randomized singular value decomposition; 0 for the
 *     exact one, and for other kinds
 */
public record LoraInitialization(Kind kind, int iterations) {

  /** The rules. */
  public enum Kind {
    /** A uniform in ±1/√in (Kaiming with a = √5), B zero. */
    DEFAULT,
    /** A normal with standard deviation 1/rank, B zero. */
    GAUSSIAN,
    /** Both random, so that the adapter acts from the start: for tests. */
    RANDOM,
    /**
     * The principal singular vectors of the base's weight. Both A and B begin there, and the base
     * gives up that part, here by subtracting what A and B began with: the output is the base's.
     */
    PISSA,
    /**
     * The first columns and rows of the QR decomposition of the base's weight, taken off likewise.
     */
    OLORA,
    /** A and B from the even and odd rows of one random orthogonal matrix, so that B·A is zero. */
    ORTHOGONAL
  }

  /** The default rule. */
  public static final LoraInitialization DEFAULT = new LoraInitialization(Kind.DEFAULT, 0);

  private static final String PISSA_ITERATIONS = "pissa_niter_";

  /**
   * PiSSA with a randomized decomposition, much faster for large layers.
   *
   * @param iterations power iterations, at least 1
   * @return the rule
   * @throws InvalidConfigException if there are no iterations
   */
  public static LoraInitialization pissa(int iterations) {
    if (iterations < 1) {
      throw new InvalidConfigException(
          "pissa_niter takes at least 1 power iteration, was " + iterations);
    }
    return new LoraInitialization(Kind.PISSA, iterations);
  }

  /**
   * A rule without parameters.
   *
   * @param kind the rule
   * @return the rule
   */
  public static LoraInitialization of(Kind kind) {
    return new LoraInitialization(kind, 0);
  }

  /**
   * Tells whether the base's own part is subtracted, so that the adapter is s·(B·A − B₀·A₀).
   *
   * @return true for PiSSA and OLoRA
   */
  public boolean takesFromBase() {
    return kind == Kind.PISSA || kind == Kind.OLORA;
  }

  JsonNode toJson() {
    return switch (kind) {
      case DEFAULT -> BooleanNode.TRUE;
      case RANDOM -> BooleanNode.FALSE;
      case PISSA -> TextNode.valueOf(iterations == 0 ? "pissa" : PISSA_ITERATIONS + iterations);
      default -> TextNode.valueOf(kind.name().toLowerCase(Locale.ROOT));
    };
  }

  static LoraInitialization parse(JsonNode node) {
    if (node.isBoolean()) {
      return of(node.booleanValue() ? Kind.DEFAULT : Kind.RANDOM);
    }
    String text = node.asText().toLowerCase(Locale.ROOT);
    if (node.isTextual() && text.startsWith(PISSA_ITERATIONS)) {
      try {
        return pissa(Integer.parseInt(text.substring(PISSA_ITERATIONS.length())));
      } catch (NumberFormatException e) {
        // Reported below with all that is allowed.
      }
    }
    return switch (node.isTextual() ? text : "") {
      case "gaussian" -> of(Kind.GAUSSIAN);
      case "pissa" -> of(Kind.PISSA);
      case "olora" -> of(Kind.OLORA);
      case "orthogonal" -> of(Kind.ORTHOGONAL);
      default ->
          throw new InvalidConfigException(
              "init_lora_weights is one of true, false, \"gaussian\", \"pissa\","
                  + " \"pissa_niter_N\", \"olora\", \"orthogonal\"; got "
                  + node);
    };
  }
}
