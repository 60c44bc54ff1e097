package io.peft4j.onnx;

/**
 * A matrix of an adapter, as a graph takes it.
 *
 * @param shape two sizes
 * @param values row by row
 */
record AdapterTensor(long[] shape, float[] values) {}
