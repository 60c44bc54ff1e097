/** The Qwen 2 family: a Llama with biases on queries, keys and values, and perhaps windows. */
@NullMarked
package io.peft4j.models.qwen2;

import org.jspecify.annotations.NullMarked;
