/** The RoBERTa family: what its configuration says, its layers' names, and how it computes. */
@NullMarked
package io.peft4j.models.roberta;

import org.jspecify.annotations.NullMarked;
