/**
 * Hybrids: adapters of several methods, or several of one, made, trained, saved, switched and
 * served as one. {@link io.peft4j.hybrid.HybridConfig} names the parts; everything else is done
 * through {@link io.peft4j.PeftModel} as with any adapter.
 */
@NullMarked
package io.peft4j.hybrid;

import org.jspecify.annotations.NullMarked;
