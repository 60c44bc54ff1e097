/**
 * Full fine-tuning as a method like the others: trained copies take the place of the base's own
 * parameters.
 */
@NullMarked
package io.peft4j.full;

import org.jspecify.annotations.NullMarked;
