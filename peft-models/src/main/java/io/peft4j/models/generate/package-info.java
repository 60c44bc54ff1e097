/**
 * Text generation: {@link io.peft4j.models.generate.Generator} continues prompts with a causal
 * language model, with or without adapters, token for token as transformers' {@code generate} does.
 * {@link io.peft4j.models.generate.GenerationOptions} say how.
 */
@NullMarked
package io.peft4j.models.generate;

import org.jspecify.annotations.NullMarked;
