/**
 * Training: the loop, its optimizer and schedule, and what it shows of itself, a {@linkplain
 * io.peft4j.train.TrainingProgress progress bar} while it runs and a {@linkplain
 * io.peft4j.train.LossPlot picture of the loss} afterwards.
 */
@NullMarked
package io.peft4j.train;

import org.jspecify.annotations.NullMarked;
