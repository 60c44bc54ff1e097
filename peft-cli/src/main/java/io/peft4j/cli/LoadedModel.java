package io.peft4j.cli;

import io.peft4j.models.Tokenizer;
import io.peft4j.nn.PassSource;

/**
 * A base with its tokenizer and the adapters that act on it.
 *
 * @param source computes
 * @param tokenizer the base's
 */
record LoadedModel(PassSource source, Tokenizer tokenizer) {}
