/** The Gemma 2 family: windows in each second layer, bounded scores and logits. */
@NullMarked
package io.peft4j.models.gemma2;

import org.jspecify.annotations.NullMarked;
