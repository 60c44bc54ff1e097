/**
 * What is measured at an evaluation beside the loss: a {@linkplain io.peft4j.train.metric.Metric
 * metric} sees the model's outputs and the labels of each evaluated batch and sums them up.
 */
@NullMarked
package io.peft4j.train.metric;

import org.jspecify.annotations.NullMarked;
