/** The Qwen 3 family: normalised queries and keys, and perhaps windows. */
@NullMarked
package io.peft4j.models.qwen3;

import org.jspecify.annotations.NullMarked;
