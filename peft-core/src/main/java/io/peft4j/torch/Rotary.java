package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Rotary position embedding: turns the two halves of each head, or of its first values, by given
 * angles, as Hugging Face's Llama does.
 *
 * @param headSize size of a head
 * @param turned how many values of a head are turned, even; the rest stay as they are
 */
public record Rotary(int headSize, int turned) {
  private static final Map<Rotary, Kernel> ROTATIONS = new ConcurrentHashMap<>();

  /**
   * Turns queries and keys.
   *
   * @param query float32 [batch, length, heads · headSize]
   * @param key float32 [batch, length, heads · headSize], perhaps with fewer heads
   * @param tables cosines and sines of the angles, two arrays float32 [batch or 1, length, 1,
   *     turned / 2]
   * @return the turned query and key, of the same shapes
   */
  public NDList rotate(NDArray query, NDArray key, NDList tables) {
    return ROTATIONS
        .computeIfAbsent(this, Rotary::kernel)
        .callMany(query, key, tables.get(0), tables.get(1));
  }

  private static Kernel kernel(Rotary rotary) {
    String split = ", [torch.size(q, 0), torch.size(q, 1), -1, " + rotary.headSize + "])";
    return Kernel.of(
        "q: Tensor, k: Tensor, c: Tensor, s: Tensor -> Tuple[Tensor, Tensor]",
        "q0 = torch.reshape(q" + split,
        "k0 = torch.reshape(k" + split,
        String.join("\n    ", rotary.statements("q0", "c", "s", "q1")),
        String.join("\n    ", rotary.statements("k0", "c", "s", "k1")),
        "return (torch.flatten(q1, 2, 3), torch.flatten(k1, 2, 3))");
  }

  /**
   * What {@link #rotate} does with either, as statements of a larger kernel.
   *
   * @param x a variable, float32 [batch, length, heads, headSize]
   * @param cosines a variable with the first table
   * @param sines a variable with the second table
   * @param y the variable to make, of the shape of x, also the prefix of others that are made
   * @return the statements
   */
  public List<String> statements(String x, String cosines, String sines, String y) {
    int half = turned / 2;
    String first = y + "a";
    String second = y + "b";
    String rest = turned == headSize ? "" : ", " + slice(x, turned, headSize);
    return List.of(
        first + " = " + slice(x, 0, half),
        second + " = " + slice(x, half, turned),
        y
            + " = torch.cat([torch.sub("
            + product(first, cosines)
            + ", "
            + product(second, sines)
            + "), torch.add("
            + product(second, cosines)
            + ", "
            + product(first, sines)
            + ")"
            + rest
            + "], -1)");
  }

  private static String slice(String x, int begin, int end) {
    return "torch.slice(" + x + ", 3, " + begin + ", " + end + ", 1)";
  }

  private static String product(String x, String y) {
    return "torch.mul(" + x + ", " + y + ")";
  }
}
