/**
 * What a model computes, said to somebody else: a family describes its computation once, operation
 * by operation, and whoever implements {@link io.peft4j.models.graph.ModelGraph} makes of it what
 * is wanted, such as an ONNX file.
 */
@NullMarked
package io.peft4j.models.graph;

import org.jspecify.annotations.NullMarked;
