package io.peft4j.torch;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Rotary position embedding: turns the two halves of each head by an angle that grows with the
 * position, as Hugging Face's Llama does. Angles are position / theta^(2i / size), computed in
 * float32 in the same order of operations.
 *
 * @param theta base of the frequencies
 * @param headSize size of a head, even
 */
public record Rotary(double theta, int headSize) {
  private static final Map<Rotary, Kernel> TABLES = new ConcurrentHashMap<>();
  private static final Map<Integer, Kernel> ROTATIONS = new ConcurrentHashMap<>();

  /**
   * Cosines and sines for some positions. They belong to a pass and cost little next to it.
   *
   * @param positions int64 [batch or 1, length]
   * @return two arrays float32 [batch or 1, length, 1, headSize / 2]
   */
  public NDList tables(NDArray positions) {
    return TABLES
        .computeIfAbsent(
            this,
            key ->
                Kernel.of(
                    "p: Tensor -> Tuple[Tensor, Tensor]",
                    "i = torch.to(torch.arange(0, "
                        + headSize
                        + ", 2, dtype=None, layout=None, device=ops.prim.device(p)), 6)",
                    "f = torch.reciprocal(torch.pow("
                        + theta
                        + ", torch.div(i, "
                        + headSize
                        + ")))",
                    "a = torch.unsqueeze(torch.mul(torch.unsqueeze(torch.to(p, 6), -1), f), 2)",
                    "return (torch.cos(a), torch.sin(a))"))
        .callMany(positions);
  }

  /**
   * Turns queries and keys.
   *
   * @param query float32 [batch, length, heads · headSize]
   * @param key float32 [batch, length, heads · headSize], perhaps with fewer heads
   * @param tables what {@link #tables} gave for the positions of both
   * @return the turned query and key, of the same shapes
   */
  public NDList rotate(NDArray query, NDArray key, NDList tables) {
    return ROTATIONS
        .computeIfAbsent(headSize, size -> rotation(size))
        .callMany(query, key, tables.get(0), tables.get(1));
  }

  private static Kernel rotation(int size) {
    int half = size / 2;
    return Kernel.of(
        "q: Tensor, k: Tensor, c: Tensor, s: Tensor -> Tuple[Tensor, Tensor]",
        "b = torch.size(q, 0)",
        "n = torch.size(q, 1)",
        "q0 = torch.reshape(q, [b, n, -1, " + size + "])",
        "k0 = torch.reshape(k, [b, n, -1, " + size + "])",
        turn("q", half, size),
        turn("k", half, size),
        "return (torch.reshape(qr, [b, n, -1]), torch.reshape(kr, [b, n, -1]))");
  }

  private static String turn(String x, int half, int size) {
    String first = "torch.slice(" + x + "0, 3, 0, " + half + ", 1)";
    String second = "torch.slice(" + x + "0, 3, " + half + ", " + size + ", 1)";
    return String.join(
        "\n    ",
        x + "1 = " + first,
        x + "2 = " + second,
        x
            + "r = torch.cat([torch.sub(torch.mul("
            + x
            + "1, c), torch.mul("
            + x
            + "2, s)), torch.add(torch.mul("
            + x
            + "2, c), torch.mul("
            + x
            + "1, s))], -1)");
  }
}
