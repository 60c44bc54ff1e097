/**
 * Checkpoints of a training run on disk: directories that are whole or absent, and that are checked
 * before anything of them is believed.
 */
@NullMarked
package io.peft4j.train.checkpoint;

import org.jspecify.annotations.NullMarked;
