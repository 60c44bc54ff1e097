package io.peft4j.models.decoder;

import io.peft4j.nn.LowRankLinear;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The statements of kernels for {@link LowRankLinear}: linear layers with a common input, their
 * low-rank products, and the gradients of both. What a product with a frozen weight is computed in
 * is a choice; low-rank products and all sums are float32.
 *
 * @param name a prefix of all variables
 * @param ranks the rank of what acts at each layer; 0 for nothing
 * @param biased whether the layers have biases
 * @param trained whether an adapter that acts is trained
 * @param half whether products with weights are computed in bfloat16
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

  private String narrow(String x) {
    return half ? "torch.to(" + x + ", 15)" : x;
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

  /** Makes x·Aᵀ alone, of a float32 matrix x. */
  List<String> lowStatements(String x) {
    return acts() ? List.of(low() + " = torch.mm(" + x + ", torch.t(" + name + "la))") : List.of();
  }

  /**
   * Makes the output of each layer, float32 matrices.
   *
   * @param x a variable, float32 matrix
   */
  List<String> forward(String x, List<String> outputs) {
    List<String> lines = new ArrayList<>(lowStatements(x));
    lines.add(name + "x = " + narrow(x));
    for (int i = 0; i < ranks.size(); i++) {
      String y = outputs.get(i);
      String product = "torch.linear(" + name + "x, " + weight(i);
      if (half) {
        lines.add(y + " = torch.to(" + product + "), 6)");
        if (biased) {
          lines.add("_ = torch.add_(" + y + ", " + name + "b" + i + ")");
        }
      } else {
        lines.add(y + " = " + product + (biased ? ", " + name + "b" + i : "") + ")");
      }
      if (ranks.get(i) > 0) {
        lines.add(
            "_ = torch.addmm_(%s, %s, torch.t(%slb%d))".formatted(y, part(low(), i), name, i));
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
   * @param above variables, the gradient of each layer's output, float32 matrices
   * @param x a variable, the input, float32 matrix; used only if an adapter is trained, along with
   *     {@link #low}
   * @param below the variable to make; null if the gradient of the input is not wanted
   */
  List<String> backward(List<String> above, String x, @Nullable String below) {
    List<String> lines = new ArrayList<>();
    List<String> low = new ArrayList<>();
    for (int i = 0; i < ranks.size(); i++) {
      String dy = above.get(i);
      if (below != null) {
        String product = "torch.mm(" + narrow(dy) + ", " + weight(i) + ")";
        if (i == 0) {
          lines.add(below + " = " + (half ? "torch.to(" + product + ", 6)" : product));
        } else if (half) {
          lines.add("_ = torch.add_(" + below + ", " + product + ")");
        } else {
          lines.add("_ = torch.addmm_(" + below + ", " + dy + ", " + weight(i) + ")");
        }
      }
      if (ranks.get(i) > 0) {
        String e = name + "e" + i;
        low.add(e);
        lines.add("%s = torch.mm(%s, %slb%d)".formatted(e, dy, name, i));
        if (trained) {
          lines.add("%sgb%d = torch.mm(torch.t(%s), %s)".formatted(name, i, part(low(), i), dy));
        }
      }
    }
    if (!low.isEmpty()) {
      String all = low.size() == 1 ? low.get(0) : "torch.cat([" + String.join(", ", low) + "], 1)";
      lines.add(name + "e = " + all);
      if (below != null) {
        lines.add("_ = torch.addmm_(%s, %se, %sla)".formatted(below, name, name));
      }
      if (trained) {
        lines.add("%sga = torch.mm(torch.t(%se), %s)".formatted(name, name, x));
      }
    }
    return lines;
  }
}
