/**
 * What a run leaves behind for people and programs to read: listeners that write {@linkplain
 * io.peft4j.train.report.MetricsFile JSON lines}, {@linkplain
 * io.peft4j.train.report.TensorBoardWriter TensorBoard's files}, {@linkplain
 * io.peft4j.train.report.LossPlotFile a picture of the loss} and {@linkplain
 * io.peft4j.train.report.RunSummary a few closing lines}. One listener is for one run.
 */
@NullMarked
package io.peft4j.train.report;

import org.jspecify.annotations.NullMarked;
