/**
 * VeRA: low-rank updates whose two matrices are random, frozen and shared by all layers, with
 * learned vectors between (Kopiczko et al. 2024, "VeRA: Vector-based Random Matrix Adaptation"), in
 * Hugging Face PEFT's files.
 */
@NullMarked
package io.peft4j.vera;

import org.jspecify.annotations.NullMarked;
