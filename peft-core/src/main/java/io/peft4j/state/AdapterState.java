package io.peft4j.state;

import ai.djl.ndarray.NDArray;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.SortedMap;

/**
 * An adapter in the form in which it is saved.
 *
 * @param config the configuration's keys
 * @param tensors state key without the adapter's name, for example {@code
 *     base_model.model.encoder.layer.0.attention.self.query.lora_A.weight}, to float32 array
 */
public record AdapterState(ObjectNode config, SortedMap<String, NDArray> tensors) {}
