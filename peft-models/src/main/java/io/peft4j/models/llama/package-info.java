/** The Llama family: what its configuration says of a decoder. */
@NullMarked
package io.peft4j.models.llama;

import org.jspecify.annotations.NullMarked;
