/**
 * A real, clean text classification task that needs no download beyond a Maven dependency: told the
 * definition of a noun, say what kind of thing it is.
 */
@NullMarked
package io.peft4j.examples.wordnet;

import org.jspecify.annotations.NullMarked;
