/** The Mistral family: a Llama with a window. */
@NullMarked
package io.peft4j.models.mistral;

import org.jspecify.annotations.NullMarked;
