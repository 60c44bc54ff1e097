/**
 * The contract: {@link io.peft4j.Peft} wraps a network with adapters, {@link io.peft4j.PeftModel}
 * is what comes back.
 */
@NullMarked
package io.peft4j;

import org.jspecify.annotations.NullMarked;
