package io.peft4j.onnx.graph;

/** How the weights of a graph are stored. Everything is computed in float32. */
public enum WeightFormat {
  /** All of them in float32: nothing is lost. */
  FLOAT32,
  /** Matrices in float16, widened by the graph; vectors (norms, biases) in float32. */
  FLOAT16,
  /**
   * The matrices of linear layers in 4 bits, by blocks of {@value Int4Blocks#BLOCK} values of a row
   * with a float32 scale each, multiplied by ONNX Runtime's operator {@code MatMulNBits}; the
   * output layer, a task's head, embeddings and vectors in float32.
   */
  INT4
}
