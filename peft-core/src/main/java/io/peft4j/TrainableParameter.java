package io.peft4j;

import ai.djl.ndarray.NDArray;

/**
 * A tensor that training changes.
 *
 * @param adapter the adapter it belongs to
 * @param name its state key
 * @param array float32 array that records gradients; it stays the model's
 */
public record TrainableParameter(String adapter, String name, NDArray array) {}
