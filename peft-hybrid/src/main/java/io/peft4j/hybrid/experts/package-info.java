/**
 * Experts: several adapters or hybrids over one base, whose outputs are added with weights that
 * each request has for itself.
 */
@NullMarked
package io.peft4j.hybrid.experts;

import org.jspecify.annotations.NullMarked;
