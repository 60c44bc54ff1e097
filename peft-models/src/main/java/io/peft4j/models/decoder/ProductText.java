package io.peft4j.models.decoder;

import io.peft4j.nn.LowRankLinear;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The statements of kernels for {@link LowRankLinear}: linear layers with a common input, their
 * low-rank products, and the gradients of both. All products are computed in one type, float32 or
 * bfloat16, which their inputs and outputs have too; the engine sums in float32 either way. Factors
 * and their gradients are float32.
 *
 * @param name a prefix of all variables
 * @param ranks the rank of what acts at each layer; 0 for nothing
 * @param biased whether the layers have biases
 * @param trained whether an adapter that acts is trained
 * @param half whether the products are computed in bfloat16
 */
record ProductText(String name, List<Long> ranks, boolean biased, boolean trained, boolean half) {

  static ProductText of(String name, LowRankLinear layers, boolean half) {
    return new ProductText(
        name, layers.ranks(), !layers.biases().isEmpty(), layers.trained(), half);
  }

  boolean acts() {
    return ranks.stream().anyMatch(rank -> rank > 0);
  }

  /** The variable that holds x·Aᵀ, if something acts. */
  String low() {
    return name + "t";
  }

  private String weight(int layer) {
    return "torch.to(" + name + "w" + layer + ", " + (half ? 15 : 6) + ")";
  }

  /** An expression of float32 in the type of the products. */
  String narrow(String x) {
    return half ? "torch.to(" + x + ", 15)" : x;
  }

  /** An expression of the type of the products in float32. */
  String wide(String x) {
    return half ? "torch.to(" + x + ", 6)" : x;
  }

  private String a() {
    return narrow(name + "la");
  }

  private String b(int layer) {
    return narrow(name + "lb" + layer);
  }

  /** The operands of {@link #forward}, after the weights the biases, A, and B of each layer. */
  List<String> forwardOperands() {
    List<String> names = weights();
    if (biased) {
      for (int i = 0; i < ranks.size(); i++) {
        names.add(name + "b" + i);
      }
    }
    names.addAll(factors());
    return names;
  }

  /** The operands of {@link #backward}: weights, A, and B of each layer. */
  List<String> backwardOperands() {
    List<String> names = weights();
    names.addAll(factors());
    return names;
  }

  private List<String> weights() {
    List<String> names = new ArrayList<>();
    for (int i = 0; i < ranks.size(); i++) {
      names.add(name + "w" + i);
    }
    return names;
  }

  private List<String> factors() {
    List<String> names = new ArrayList<>();
    if (acts()) {
      names.add(name + "la");
      for (int i = 0; i < ranks.size(); i++) {
        if (ranks.get(i) > 0) {
          names.add(name + "lb" + i);
        }
      }
    }
    return names;
  }

  /** A slice of the columns of x·Aᵀ. */
  private String part(String all, int layer) {
    long begin = ranks.subList(0, layer).stream().mapToLong(Long::longValue).sum();
    return ranks.size() == 1
        ? all
        : "torch.slice(" + all + ", 1, " + begin + ", " + (begin + ranks.get(layer)) + ", 1)";
  }

  /** Makes x·Aᵀ alone. */
  List<String> lowStatements(String x) {
    return acts() ? List.of(low() + " = torch.mm(" + x + ", torch.t(" + a() + "))") : List.of();
  }

  /**
   * Makes the output of each layer, matrices of the type of the products.
   *
   * @param x a variable, matrix of that type
   */
  List<String> forward(String x, List<String> outputs) {
    List<String> lines = new ArrayList<>(lowStatements(x));
    for (int i = 0; i < ranks.size(); i++) {
      String y = outputs.get(i);
      String bias = biased ? ", " + narrow(name + "b" + i) : "";
      lines.add(y + " = torch.linear(" + x + ", " + weight(i) + bias + ")");
      if (ranks.get(i) > 0) {
        lines.add("_ = torch.addmm_(%s, %s, torch.t(%s))".formatted(y, part(low(), i), b(i)));
      }
    }
    return lines;
  }

  /** The gradients that {@link #backward} makes: of A, and of each B transposed and not scaled. */
  List<String> gradients() {
    List<String> names = new ArrayList<>();
    if (trained) {
      names.add(name + "ga");
      for (int i = 0; i < ranks.size(); i++) {
        if (ranks.get(i) > 0) {
          names.add(name + "gb" + i);
        }
      }
    }
    return names;
  }

  /**
   * Makes the gradient of the input, and {@link #gradients}.
   *
   * @param above variables, the gradient of each layer's output, matrices of the type of the
   *     products
   * @param x a variable, the input, matrix of that type; used only if an adapter is trained, along
   *     with {@link #low}
   * @param below the variable to make, of that type; null if the gradient of the input is not
   *     wanted
   */
  List<String> backward(List<String> above, String x, @Nullable String below) {
    List<String> lines = new ArrayList<>();
    List<String> low = new ArrayList<>();
    for (int i = 0; i < ranks.size(); i++) {
      String dy = above.get(i);
      if (below != null) {
        lines.add(
            i == 0
                ? "%s = torch.mm(%s, %s)".formatted(below, dy, weight(i))
                : "_ = torch.addmm_(%s, %s, %s)".formatted(below, dy, weight(i)));
      }
      if (ranks.get(i) > 0) {
        String e = name + "e" + i;
        low.add(e);
        lines.add("%s = torch.mm(%s, %s)".formatted(e, dy, b(i)));
        if (trained) {
          String product = "torch.mm(torch.t(%s), %s)".formatted(part(low(), i), dy);
          lines.add(name + "gb" + i + " = " + wide(product));
        }
      }
    }
    if (!low.isEmpty()) {
      String all = low.size() == 1 ? low.get(0) : "torch.cat([" + String.join(", ", low) + "], 1)";
      lines.add(name + "e = " + all);
      if (below != null) {
        lines.add("_ = torch.addmm_(%s, %se, %s)".formatted(below, name, a()));
      }
      if (trained) {
        lines.add(name + "ga = " + wide("torch.mm(torch.t(%se), %s)".formatted(name, x)));
      }
    }
    return lines;
  }
}
