/**
 * Writes ONNX files: the graph of a model, put together from what the model's family says it
 * computes, and the file that holds it, in protobuf's wire format. Nothing here runs a graph.
 */
@NullMarked
package io.peft4j.onnx.graph;

import org.jspecify.annotations.NullMarked;
