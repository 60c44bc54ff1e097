/** GPT-2: what its configuration says, its layers' names, and how it computes. */
@NullMarked
package io.peft4j.models.gpt2;

import org.jspecify.annotations.NullMarked;
