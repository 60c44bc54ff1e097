package io.peft4j.models.generate;

/**
 * A token that has been generated.
 *
 * @param prompt number of the prompt in the batch, from 0
 * @param token the token
 * @param text what has become certain of the text since the token before: empty while a character
 *     is not complete or what may be the beginning of a stop string is held back. All pieces
 *     together are the text of the {@link GenerationResult}.
 */
public record GeneratedToken(int prompt, long token, String text) {}
