package io.peft4j;

/**
 * How far an adapter moves the weight of one layer.
 *
 * @param path the layer
 * @param norm the Frobenius norm ‖ΔW‖ of what the adapter adds at full strength
 * @param relative that over ‖W‖, the norm of the base's own weight; NaN where that is 0
 */
public record LayerDelta(String path, double norm, double relative) {}
