/**
 * (IA)³: activations of chosen layers are multiplied by learned vectors (Liu et al. 2022, "Few-Shot
 * Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning"), in Hugging Face
 * PEFT's files.
 */
@NullMarked
package io.peft4j.ia3;

import org.jspecify.annotations.NullMarked;
