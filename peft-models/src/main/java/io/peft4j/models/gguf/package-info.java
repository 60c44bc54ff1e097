/**
 * Reads models that were made for llama.cpp: one GGUF file with weights, configuration, tokenizer
 * and chat template.
 *
 * <p>{@link io.peft4j.models.gguf.GgufFile} reads the file as it is: metadata and packed tensors.
 * {@link io.peft4j.models.gguf.GgufModel} shows it as Hugging Face would have it: the keys of a
 * {@code config.json}, parameter names and layouts, float32 values, tokenizer files. {@link
 * io.peft4j.models.gguf.GgufConverter} writes that as a directory.
 */
@NullMarked
package io.peft4j.models.gguf;

import org.jspecify.annotations.NullMarked;
