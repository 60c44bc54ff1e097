/**
 * From training to production: models and adapters are exported to ONNX, with equal answers proven
 * as they are, and served by ONNX Runtime, without the engine that they were trained with.
 */
@NullMarked
package io.peft4j.onnx;

import org.jspecify.annotations.NullMarked;
