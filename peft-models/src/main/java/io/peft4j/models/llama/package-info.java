/** The Llama family: what its configuration says, its layers' names, and how it computes. */
@NullMarked
package io.peft4j.models.llama;

import org.jspecify.annotations.NullMarked;
