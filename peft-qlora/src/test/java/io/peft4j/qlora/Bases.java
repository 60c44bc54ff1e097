package io.peft4j.qlora;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.Backbone;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.SafeTensorsWriter.Sink;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import io.peft4j.torch.Scopes;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Small bases, in 4 bits and dense with the same values. */
final class Bases {
  static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  static final LoadOptions FLOAT32 = LoadOptions.builder().precision(Precision.FLOAT32).build();
  static final BitsAndBytesConfig NF4 =
      BitsAndBytesConfig.builder().doubleQuantization(true).build();

  private Bases() {}

  /** A base as its file has it. */
  static PretrainedModel load(String name) {
    return PretrainedModel.load(GOLDEN.resolve("models").resolve(name), FLOAT32);
  }

  static PretrainedModel quantized(String name, BitsAndBytesConfig config) {
    PretrainedModel base = load(name);
    Qlora.quantize(base, config);
    return base;
  }

  /** A base of float32 with the values that another has. */
  static PretrainedModel dense(PretrainedModel other) {
    Map<String, Weight> weights = new LinkedHashMap<>();
    try (WeightSnapshot lease = other.weights().lease();
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (String name : other.layout().parameters().keySet()) {
        Weight weight = lease.weight(other.layout().parameterIndex(name));
        weights.put(name, DenseWeight.owning(Scopes.unmanaged(weight.dense().duplicate())));
      }
    }
    return PretrainedModel.of(other.config(), weights);
  }

  static Weight weight(WeightSnapshot lease, PretrainedModel base, String path) {
    return lease.weight(base.layout().parameterIndex(path + ".weight"));
  }

  /** The bytes that a file would hold of each weight that is in 4 bits, by parameter and piece. */
  static Map<String, ByteBuffer> bytes(Backbone base) {
    Map<String, ByteBuffer> all = new LinkedHashMap<>();
    try (WeightSnapshot lease = base.weights().lease()) {
      for (String name : base.layout().parameters().keySet()) {
        Weight weight = lease.weight(base.layout().parameterIndex(name));
        if (weight instanceof FourBitWeight four) {
          all.putAll(bytes(name, four));
        }
      }
    }
    return all;
  }

  static Map<String, ByteBuffer> bytes(String name, FourBitWeight weight) {
    Map<String, ByteBuffer> all = new LinkedHashMap<>();
    for (Entry entry : weight.stored(name)) {
      all.put(entry.name(), content(entry));
    }
    return all;
  }

  private static ByteBuffer content(Entry entry) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try {
      entry
          .source()
          .writeTo(
              new Sink() {
                @Override
                public void write(ByteBuffer part) {
                  byte[] copy = new byte[part.remaining()];
                  part.duplicate().get(copy);
                  bytes.writeBytes(copy);
                }

                @Override
                public void write(NDArray array) {
                  throw new UnsupportedOperationException();
                }
              });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return ByteBuffer.wrap(bytes.toByteArray());
  }

  /** Rows of tokens, padded on the right. */
  static NDList inputs(NDManager manager, int rows, int length) {
    long[] ids = new Random(3).longs((long) rows * length, 3, 46).toArray();
    long[] mask = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      mask[i] = i % length < length - i / length ? 1 : 0;
    }
    Shape shape = new Shape(rows, length);
    return new NDList(manager.create(ids, shape), manager.create(mask, shape));
  }
}
