/** Adapters as files for llama.cpp; what is in them says {@link io.peft4j.models.gguf}. */
@NullMarked
package io.peft4j.onnx.gguf;

import org.jspecify.annotations.NullMarked;
