/** Runnable examples. {@link io.peft4j.examples.Quickstart} comes first. */
@NullMarked
package io.peft4j.examples;

import org.jspecify.annotations.NullMarked;
