/**
 * The engine room: what DJL's PyTorch engine does not offer by itself, kept in one place so that no
 * other package needs to know how it is reached.
 */
@NullMarked
package io.peft4j.torch;

import org.jspecify.annotations.NullMarked;
