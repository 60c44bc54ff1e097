/**
 * Reads pretrained weights out of ONNX files, without ONNX Runtime and without a protobuf library.
 *
 * <p>{@link io.peft4j.models.onnx.OnnxWeights} reads the file: named tensors and the nodes that use
 * them. {@link io.peft4j.models.onnx.BertOnnx} knows how PyTorch exports a BERT encoder and gives
 * the weights back the names, the orientation and the configuration they had at Hugging Face.
 */
@NullMarked
package io.peft4j.models.onnx;

import org.jspecify.annotations.NullMarked;
