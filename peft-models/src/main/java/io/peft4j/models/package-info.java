/**
 * Pretrained transformers: {@link io.peft4j.models.PretrainedModel} reads a Hugging Face directory,
 * computes, and writes one; {@link io.peft4j.models.Tokenizer} turns text into its inputs. Each
 * family is a {@link io.peft4j.models.ModelFamily} in a package of its own.
 */
@NullMarked
package io.peft4j.models;

import org.jspecify.annotations.NullMarked;
