/**
 * Benchmarks, each beside its Python peer. A scenario measures one of the project's figures in this
 * process and appends what it found to a file of results; {@code run.sh} lets this side and the
 * Python one take turns, and {@link io.peft4j.bench.Report} puts the two side by side.
 */
@NullMarked
package io.peft4j.bench;

import org.jspecify.annotations.NullMarked;
