package io.peft4j.cli;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.MalformedFileException;
import io.peft4j.onnx.OrtOutput;
import io.peft4j.onnx.OrtView;
import io.peft4j.state.TensorInfo;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** Compares what an exported model computes with what is expected of it. */
final class ExportedCheck {
  private ExportedCheck() {}

  static Comparison compare(OrtView view, IoFile file, String expect, Path io) {
    TensorInfo expected = file.check(expect);
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = file.inputs(manager);
      long[][] ids = rows(inputs.head(), io);
      long[][] mask = new long[ids.length][ids[0].length];
      long[][] types = new long[ids.length][ids[0].length];
      Arrays.stream(mask).forEach(row -> Arrays.fill(row, 1));
      for (NDArray input : inputs) {
        if (IoFile.MASK.equals(input.getName())) {
          mask = rows(input, io);
        } else if ("token_type_ids".equals(input.getName())) {
          types = rows(input, io);
        }
      }
      Map<String, OrtOutput> outputs = view.forward(ids, mask, types);
      String name = outputs.keySet().iterator().next();
      for (String candidate : outputs.keySet()) {
        name = expect.contains(candidate) ? candidate : name;
      }
      OrtOutput output = outputs.get(name);
      if (output == null || !new Shape(output.shape()).equals(expected.shape())) {
        throw new MalformedFileException(
            io
                + ": "
                + expect
                + " has shape "
                + expected.shape()
                + ", but "
                + name
                + " has "
                + output);
      }
      return Comparison.of(
          output.values(),
          file.floats(manager, expect),
          VerifyCommand.counted(inputs, expected.shape()));
    }
  }

  private static long[][] rows(NDArray array, Path io) {
    Shape shape = array.getShape();
    if (shape.dimension() != 2 || shape.size() == 0) {
      throw new MalformedFileException(
          io + ": " + array.getName() + " must be [batch, length]; it is " + shape);
    }
    int length = Math.toIntExact(shape.get(1));
    long[] values = array.toType(DataType.INT64, true).toLongArray();
    long[][] rows = new long[Math.toIntExact(shape.get(0))][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = Arrays.copyOfRange(values, i * length, (i + 1) * length);
    }
    return rows;
  }
}
