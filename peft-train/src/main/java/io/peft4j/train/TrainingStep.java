package io.peft4j.train;

/**
 * A step that has been taken.
 *
 * @param step its number, from 1
 * @param totalSteps steps of the whole run
 * @param epoch the epoch its last batch was of, from 0
 * @param loss the loss before the update
 * @param learningRate the rate the update was made with
 * @param gradientNorm the 2-norm of all gradients before clipping
 * @param samplesPerSecond rows trained a second since the run began
 * @param tokensPerSecond tokens trained a second since the run began; 0 if batches count none
 */
public record TrainingStep(
    long step,
    long totalSteps,
    int epoch,
    double loss,
    double learningRate,
    double gradientNorm,
    double samplesPerSecond,
    double tokensPerSecond) {}
