package io.peft4j.onnx;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.onnxruntime.OrtLoraAdapter;
import ai.onnxruntime.OrtSession;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.Network;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.PassSource;
import io.peft4j.onnx.graph.AdapterInputs;
import io.peft4j.state.PeftDirectory;
import io.peft4j.target.LayerSpec;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.Function;

/**
 * Runs a graph in ONNX Runtime on sample inputs and compares with the model that it was made of: a
 * batch of two rows, one of them padded; where there is a cache, the same token by token; and where
 * positions can be chosen, at the end of the context. A graph that takes adapters is compared once
 * more with a random one.
 */
final class ExportCheck {
  private static final int LENGTH = 9;
  private static final int PADDED = 3;
  private static final int FIRST_STEP = 5;
  private static final int RANK = 3;

  private final GraphSession session;
  private final PretrainedModel model;
  private final SplittableRandom random = new SplittableRandom(1);
  private double error;
  private int values;

  ExportCheck(GraphSession session, PretrainedModel model) {
    this.session = session;
    this.model = model;
  }

  /** The largest difference of a value, relative to the largest value of its output or to 1. */
  double error() {
    return error;
  }

  int values() {
    return values;
  }

  void run(List<LayerSpec> adapted) {
    List<TokenBatch> samples = samples();
    for (TokenBatch sample : samples) {
      compare(sample, model::forward, List.of());
    }
    steps(samples.get(0), model, List.of());
    if (adapted.isEmpty()) {
      return;
    }
    try (PeftModel wrapped = Peft.open(model)) {
      addRandom(wrapped, adapted);
      byte[] bytes = OnnxAdapter.of(wrapped, "sample").toBytes();
      try (OrtLoraAdapter adapter = Ort.call("an adapter", () -> OrtLoraAdapter.create(bytes))) {
        for (TokenBatch sample : samples) {
          compare(sample, wrapped.with("sample")::forward, List.of(adapter));
        }
        steps(samples.get(0), wrapped.with("sample"), List.of(adapter));
      }
    }
  }

  // --- samples --------------------------------------------------------------------------------

  private List<TokenBatch> samples() {
    Network.InputLimits limits = model.network().limits();
    int padding = model.config().path("pad_token_id").asInt(-1);
    int rows = padding < 0 && model.network().cacheShape().isEmpty() ? 1 : 2;
    int length = Math.min(limits.longest(), LENGTH);
    long[] ids = new long[rows * length];
    long[] mask = new long[rows * length];
    for (int i = 0; i < ids.length; i++) {
      boolean left = session.hasCache();
      boolean padded = i >= length && (left ? i - length < PADDED : i >= 2 * length - PADDED);
      ids[i] = padded ? Math.max(0, padding) : random.nextInt(limits.vocabulary());
      mask[i] = padded ? 0 : 1;
    }
    List<TokenBatch> samples = new ArrayList<>();
    TokenBatch first = TokenBatch.of(rows, ids, mask);
    samples.add(first);
    if (limits.positions() > length) {
      samples.add(first.shifted(limits.positions() - length));
    }
    return samples;
  }

  private void addRandom(PeftModel wrapped, List<LayerSpec> layers) {
    LoraConfig config =
        LoraConfig.builder()
            .rank(RANK)
            .alpha(2 * RANK)
            .targetModules(layers.stream().map(LayerSpec::path).toArray(String[]::new))
            .build();
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      Map<String, NDArray> tensors = new HashMap<>();
      for (LayerSpec layer : layers) {
        String path = PeftDirectory.PREFIX + layer.path();
        tensors.put(AdapterInputs.a(path), matrix(manager, RANK, layer.inFeatures()));
        tensors.put(AdapterInputs.b(path), matrix(manager, layer.outFeatures(), RANK));
      }
      wrapped.addAdapter("sample", config, tensors);
    }
  }

  private NDArray matrix(NDManager manager, long rows, long columns) {
    float[] drawn = new float[Math.toIntExact(rows * columns)];
    double width = 0.5 / Math.sqrt(columns);
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = (float) random.nextDouble(-width, width);
    }
    return manager.create(drawn, new Shape(rows, columns));
  }

  // --- comparing ------------------------------------------------------------------------------

  private void compare(
      TokenBatch batch, Function<NDList, NDList> reference, List<OrtLoraAdapter> adapters) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      Shape shape = new Shape(batch.rows(), batch.length());
      NDList inputs = new NDList();
      inputs.add(named(manager.create(batch.ids(), shape), "input_ids"));
      inputs.add(named(manager.create(batch.mask(), shape), "attention_mask"));
      if (model.network().limits().positions() > 0) {
        inputs.add(named(manager.create(batch.positions(), shape), "position_ids"));
      }
      NDList expected = reference.apply(inputs);
      try (OrtSession.Result result = session.run(batch, null, adapters)) {
        for (NDArray output : expected) {
          compare(batch, output, result);
        }
      }
    }
  }

  /** Reads the beginning of each row, then goes on token by token over a cache. */
  private void steps(TokenBatch batch, PassSource source, List<OrtLoraAdapter> adapters) {
    if (!session.hasCache()) {
      return;
    }
    List<long[]> prompts = new ArrayList<>();
    for (int row = 0; row < batch.rows(); row++) {
      int begin = row * batch.length();
      int pad = 0;
      while (batch.mask()[begin + pad] == 0) {
        pad++;
      }
      prompts.add(Arrays.copyOfRange(batch.ids(), begin + pad, begin + FIRST_STEP));
    }
    int room = batch.length() - FIRST_STEP;
    OrtSession.Result result = session.run(batch.part(0, FIRST_STEP), null, adapters);
    try (CausalDecoder decoder = CausalDecoder.start(source, prompts, 1, room)) {
      for (int token = FIRST_STEP; ; token++) {
        compareLast(batch.rows(), decoder, result);
        if (token == batch.length()) {
          return;
        }
        TokenBatch next = batch.part(token, token + 1);
        decoder.step(next.ids());
        OrtSession.Result before = result;
        boolean again = token == model.network().textLength().switchesAfter();
        try (before) {
          result =
              again
                  ? session.run(batch.part(0, token + 1), null, adapters)
                  : session.run(next, session.past(before), adapters);
        }
      }
    } finally {
      result.close();
    }
  }

  private void compareLast(int rows, CausalDecoder decoder, OrtSession.Result result) {
    FloatBuffer given = GraphSession.tensor(result, "logits").getFloatBuffer();
    float[] wanted = new float[decoder.vocabulary()];
    int length = given.remaining() / rows / wanted.length;
    Difference difference = new Difference();
    for (int row = 0; row < rows; row++) {
      decoder.logits(row, wanted);
      for (int i = 0; i < wanted.length; i++) {
        difference.add(wanted[i], given.get((row * length + length - 1) * wanted.length + i));
      }
    }
    difference.end();
  }

  private static NDArray named(NDArray array, String name) {
    array.setName(name);
    return array;
  }

  /** Compares all values but those of padding, which mean nothing. */
  private void compare(TokenBatch batch, NDArray expected, OrtSession.Result result) {
    String name = expected.getName();
    FloatBuffer given = GraphSession.tensor(result, name).getFloatBuffer();
    float[] wanted = expected.toFloatArray();
    boolean perToken =
        expected.getShape().dimension() > 1
            && expected.getShape().get(1) == batch.length()
            && wanted.length >= batch.ids().length;
    int width = wanted.length / (perToken ? batch.ids().length : batch.rows());
    if (given.remaining() != wanted.length) {
      throw new PeftException(
          "the graph's output "
              + name
              + " has "
              + given.remaining()
              + " values where the model's has "
              + Arrays.toString(expected.getShape().getShape()));
    }
    Difference difference = new Difference();
    for (int i = 0; i < wanted.length; i++) {
      if (!perToken || batch.mask()[i / width] == 1) {
        difference.add(wanted[i], given.get(i));
      }
    }
    difference.end();
  }

  /** How far an output is from the model's. */
  private final class Difference {
    private double largest = 1;
    private double worst;

    void add(float wanted, float given) {
      largest = Math.max(largest, Math.abs(wanted));
      double difference = Math.abs((double) wanted - given);
      // NaN is worse than all else.
      worst = difference <= worst ? worst : difference;
      values++;
    }

    void end() {
      double relative = worst / largest;
      error = relative <= error ? error : relative;
    }
  }
}
