package io.peft4j.models.decoder;

/**
 * What a decoder's configuration says about its head.
 *
 * @param task what the head does
 * @param tied whether logits are products with the embedding
 * @param softcap the bound of logits; 0 for none
 * @param labels number of classes
 * @param padding the token that is no part of a text to be classified; -1 for none
 * @param dropout probability with which states are dropped before tokens are classified
 */
public record HeadConfig(
    DecoderTask task, boolean tied, double softcap, int labels, int padding, double dropout) {}
