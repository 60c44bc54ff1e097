package io.peft4j.onnx;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.nio.file.Path;

/** ONNX Runtime with our errors. */
final class Ort {
  static final OrtEnvironment ENVIRONMENT = OrtEnvironment.getEnvironment();

  private Ort() {}

  /** A call that may fail. */
  @FunctionalInterface
  interface Call<T> {
    T run() throws OrtException;
  }

  static <T> T call(String what, Call<T> call) {
    try {
      return call.run();
    } catch (OrtException e) {
      throw new PeftException(what + ": " + e.getMessage(), e);
    }
  }

  /** Opens a graph; 0 threads for as many as there are cores. The caller closes it. */
  static OrtSession open(Path model, int threads) {
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      // Below, each input that has a default is warned of.
      options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR);
      if (threads > 0) {
        options.setIntraOpNumThreads(threads);
      }
      return ENVIRONMENT.createSession(model.toString(), options);
    } catch (OrtException e) {
      throw new MalformedFileException(
          model + ": ONNX Runtime cannot open it: " + e.getMessage(), e);
    }
  }

  static OnnxTensor integers(long[] values, long... shape) {
    LongBuffer buffer = direct(Long.BYTES, values.length).asLongBuffer().put(values).flip();
    return call("an input", () -> OnnxTensor.createTensor(ENVIRONMENT, buffer, shape));
  }

  static OnnxTensor floats(FloatBuffer direct, long... shape) {
    return call("an input", () -> OnnxTensor.createTensor(ENVIRONMENT, direct, shape));
  }

  static ByteBuffer direct(int size, long count) {
    return ByteBuffer.allocateDirect(Math.toIntExact(Math.max(1, size * count)))
        .order(ByteOrder.nativeOrder());
  }
}
