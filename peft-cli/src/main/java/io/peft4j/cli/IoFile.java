package io.peft4j.cli;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import io.peft4j.MalformedFileException;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.TensorInfo;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/** A safetensors file with inputs of a model and what should come out. Closed by who opened it. */
final class IoFile implements AutoCloseable {
  /** The tokens. */
  static final String IDS = "input_ids";

  /** 1 for tokens, 0 for padding. */
  static final String MASK = "attention_mask";

  private static final List<String> INPUTS = List.of(IDS, MASK, "token_type_ids");
  private static final Set<DataType> KINDS_OF_INPUT =
      Set.of(DataType.INT64, DataType.INT32, DataType.BOOLEAN, DataType.FLOAT32);

  private final Path file;
  private final SafeTensors tensors;

  private IoFile(Path file, SafeTensors tensors) {
    this.file = file;
    this.tensors = tensors;
  }

  static IoFile open(Path file) {
    IoFile io = new IoFile(file, SafeTensors.open(file));
    io.check(IDS);
    return io;
  }

  /** Whether there is a tensor of that name. */
  boolean has(String key) {
    return tensors.contains(key);
  }

  /** Checks that there is a tensor of that name. */
  TensorInfo check(String key) {
    if (!tensors.contains(key)) {
      throw new MalformedFileException(
          file + ": has no tensor '" + key + "'; it has " + String.join(", ", tensors.names()));
    }
    return tensors.info(key);
  }

  /** The inputs there are, named. */
  NDList inputs(NDManager manager) {
    NDList inputs = new NDList();
    for (String name : INPUTS) {
      if (tensors.contains(name)) {
        NDArray array = integers(manager, name);
        array.setName(name);
        inputs.add(array);
      }
    }
    return inputs;
  }

  /** A tensor of integers or flags. */
  NDArray integers(NDManager manager, String name) {
    TensorInfo info = check(name);
    if (info.type().dataType().filter(KINDS_OF_INPUT::contains).isEmpty()) {
      throw new MalformedFileException(
          file + ": " + name + " is of type " + info.type() + " where I64 or I32 is needed");
    }
    return tensors.array(manager, name);
  }

  /** A tensor in float32. */
  float[] floats(NDManager manager, String key) {
    check(key);
    try (NDArray array = tensors.float32(manager, key)) {
      return array.toFloatArray();
    }
  }

  @Override
  public void close() {
    tensors.close();
  }
}
