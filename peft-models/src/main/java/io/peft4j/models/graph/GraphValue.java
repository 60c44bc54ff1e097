package io.peft4j.models.graph;

/**
 * A value of a computation that is being described.
 *
 * @param name the name that the graph has given it
 */
public record GraphValue(String name) {}
