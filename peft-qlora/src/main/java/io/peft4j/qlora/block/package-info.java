/**
 * Values in blocks of 4 bits: code books, scales, and the kernels that pack and unpack them. Plain
 * Java over buffers; it knows arrays of the engine only for the mean of the scales.
 */
@NullMarked
package io.peft4j.qlora.block;

import org.jspecify.annotations.NullMarked;
