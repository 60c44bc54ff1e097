/**
 * Decoders of Llama's kind: layers of attention and gated feed-forward over a residual stream, with
 * rotary positions. What families differ in is data, see {@link
 * io.peft4j.models.decoder.DecoderConfig}; a family reads its configuration into it.
 */
@NullMarked
package io.peft4j.models.decoder;

import org.jspecify.annotations.NullMarked;
