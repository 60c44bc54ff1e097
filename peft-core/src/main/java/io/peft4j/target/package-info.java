/**
 * Which layers are meant: the paths of a model and the rules, Hugging Face PEFT's, by which a
 * configuration selects among them.
 */
@NullMarked
package io.peft4j.target;

import org.jspecify.annotations.NullMarked;
