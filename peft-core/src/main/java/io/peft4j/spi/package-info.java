/**
 * What a fine-tuning method implements. A method is a package of its own: it names a {@link
 * io.peft4j.spi.PeftMethod} in {@code META-INF/services}, which reads its configurations and
 * attaches {@link io.peft4j.nn.LayerAdapter}s to the layers it selects; no other code changes. In
 * the same way a {@link io.peft4j.spi.WeightStorage} brings weights that are not plain tensors.
 */
@NullMarked
package io.peft4j.spi;

import org.jspecify.annotations.NullMarked;
