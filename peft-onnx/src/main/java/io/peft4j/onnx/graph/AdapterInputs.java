package io.peft4j.onnx.graph;

/**
 * The names of the inputs through which LoRA comes into a graph, and of the tensors of {@code
 * .onnx_adapter} files: the path of the layer and {@value #A} for Aᵀ [in, rank] or {@value #B} for
 * s·Bᵀ [rank, out], as Olive's converter names them.
 */
public final class AdapterInputs {
  private static final String A = ".lora_A.weight";
  private static final String B = ".lora_B.weight";

  private AdapterInputs() {}

  /**
   * The name of A.
   *
   * @param path the layer
   * @return the name
   */
  public static String a(String path) {
    return path + A;
  }

  /**
   * The name of B.
   *
   * @param path the layer
   * @return the name
   */
  public static String b(String path) {
    return path + B;
  }

  /**
   * Tells whether an input is one of these.
   *
   * @param input an input's name
   * @return true if so
   */
  public static boolean isOne(String input) {
    return input.endsWith(A) || input.endsWith(B);
  }
}
