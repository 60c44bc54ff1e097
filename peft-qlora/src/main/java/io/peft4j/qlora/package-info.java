/**
 * Frozen weights of 4 bits, identical to those of bitsandbytes: how they are made, held, computed
 * with, and stored in checkpoints.
 */
@NullMarked
package io.peft4j.qlora;

import org.jspecify.annotations.NullMarked;
