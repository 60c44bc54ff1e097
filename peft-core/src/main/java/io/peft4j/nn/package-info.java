/**
 * Layers that can be adapted, and what flows through them: a {@link io.peft4j.nn.Backbone} computes
 * with the weights and adapters that a {@link io.peft4j.nn.Pass} carries, and holds no state of a
 * request itself.
 */
@NullMarked
package io.peft4j.nn;

import org.jspecify.annotations.NullMarked;
