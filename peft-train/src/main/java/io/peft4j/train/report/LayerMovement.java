package io.peft4j.train.report;

/**
 * How far training has moved one adapter at one layer.
 *
 * @param adapter the adapter
 * @param path the layer, or the state key of a tensor that belongs to none
 * @param distance the 2-norm of the difference of its trained tensors there from what they began
 *     with
 * @param delta the Frobenius norm ‖ΔW‖ of what it adds to the layer's weight now; NaN where that
 *     fits into no weight
 * @param relative that over ‖W‖, the norm of the base's own weight
 */
public record LayerMovement(
    String adapter, String path, double distance, double delta, double relative) {}
