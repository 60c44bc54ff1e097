/** The Phi-3 family: projections of one input are one layer, perhaps a part of heads is turned. */
@NullMarked
package io.peft4j.models.phi3;

import org.jspecify.annotations.NullMarked;
