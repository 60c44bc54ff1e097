/** The Gemma 3 family, as far as it is text: windows with angles of their own. */
@NullMarked
package io.peft4j.models.gemma3;

import org.jspecify.annotations.NullMarked;
