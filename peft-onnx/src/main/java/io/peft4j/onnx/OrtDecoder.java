package io.peft4j.onnx;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtSession;
import io.peft4j.AdapterStateException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.Network;
import io.peft4j.models.TokenDecoder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A graph with a cache, computing token by token. Prompts are padded on the left. */
final class OrtDecoder implements TokenDecoder {
  /** Most tokens of a row that one run reads: logits of all of them are made. */
  private static final int RUN_TOKENS = 256;

  private final OrtRun run;
  private final int copies;
  private final int context;
  private final int rows;
  private final Network.TextLength textLength;

  /** All tokens, for models that may have to read them again. */
  private long[] ids = {};

  private long[] mask = {};
  private float[] logits = {};
  private OrtSession.@Nullable Result result;
  private Map<String, OnnxTensor> past = Map.of();
  private boolean ownsPast;
  private boolean closed;

  private OrtDecoder(OrtRun run, int rows, int copies, int context, Network.TextLength textLength) {
    this.run = run;
    this.rows = rows;
    this.copies = copies;
    this.context = context;
    this.textLength = textLength;
  }

  /** Begins; the decoder closes the run, also if this fails. */
  static OrtDecoder start(
      OrtRun run, List<long[]> prompts, int copies, int context, Network.TextLength textLength) {
    OrtDecoder decoder = new OrtDecoder(run, prompts.size() * copies, copies, context, textLength);
    try {
      decoder.read(prompts);
      return decoder;
    } catch (RuntimeException | Error e) {
      decoder.close();
      throw e;
    }
  }

  private void read(List<long[]> prompts) {
    int longest = 0;
    for (long[] prompt : prompts) {
      if (prompt.length == 0 || prompt.length > context) {
        throw new InvalidInputException(
            "a prompt has from 1 to " + context + " tokens; given were " + prompt.length);
      }
      longest = Math.max(longest, prompt.length);
    }
    if (rows == 0) {
      throw new InvalidInputException("at least one prompt and one copy of it are needed");
    }
    ids = new long[rows * longest];
    long[] counted = new long[ids.length];
    for (int row = 0; row < rows; row++) {
      long[] prompt = prompts.get(row / copies);
      int begin = row * longest + longest - prompt.length;
      System.arraycopy(prompt, 0, ids, begin, prompt.length);
      Arrays.fill(counted, begin, begin + prompt.length, 1);
    }
    mask = counted;
    TokenBatch whole = TokenBatch.of(rows, ids, counted);
    int step = textLength.inOnePass() ? longest : RUN_TOKENS;
    for (int begin = 0; begin < longest; begin += step) {
      compute(whole.part(begin, Math.min(longest, begin + step)));
    }
  }

  private void compute(TokenBatch batch) {
    OrtSession.Result next = run.session().run(batch, past.isEmpty() ? null : past, run.adapters());
    closePast();
    result = next;
    past = run.session().past(next);
    FloatBuffer all = GraphSession.tensor(next, "logits").getFloatBuffer();
    int vocabulary = all.remaining() / (rows * batch.length());
    logits = new float[rows * vocabulary];
    for (int row = 0; row < rows; row++) {
      int last = row * batch.length() + batch.length() - 1;
      all.get(last * vocabulary, logits, row * vocabulary, vocabulary);
    }
  }

  @Override
  public int vocabulary() {
    return logits.length / rows;
  }

  @Override
  public int sequences() {
    return rows;
  }

  @Override
  public long[] best() {
    long[] best = new long[rows];
    int width = vocabulary();
    for (int row = 0; row < rows; row++) {
      int found = row * width;
      for (int i = found + 1; i < (row + 1) * width; i++) {
        found = logits[i] > logits[found] ? i : found;
      }
      best[row] = found - row * width;
    }
    return best;
  }

  @Override
  public void logits(int sequence, float[] target) {
    System.arraycopy(logits, check(sequence) * vocabulary(), target, 0, vocabulary());
  }

  @Override
  public void logProbabilities(int sequence, float[] target) {
    logits(sequence, target);
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < vocabulary(); i++) {
      largest = Math.max(largest, target[i]);
    }
    double sum = 0;
    for (int i = 0; i < vocabulary(); i++) {
      sum += Math.exp(target[i] - largest);
    }
    float norm = (float) (largest + Math.log(sum));
    for (int i = 0; i < vocabulary(); i++) {
      target[i] -= norm;
    }
  }

  private int check(int sequence) {
    if (sequence < 0 || sequence >= rows) {
      throw new InvalidInputException(
          "there are sequences 0 to " + (rows - 1) + "; asked for was " + sequence);
    }
    return sequence;
  }

  @Override
  public void step(long[] tokens) {
    if (closed) {
      throw new AdapterStateException("the decoder has been closed");
    }
    if (tokens.length != rows) {
      throw new InvalidInputException(
          "a step takes a token for each of " + rows + " sequences; given were " + tokens.length);
    }
    for (long token : tokens) {
      if (token < 0 || token >= vocabulary()) {
        throw new InvalidInputException(
            "tokens are from 0 to " + (vocabulary() - 1) + "; given was " + token);
      }
    }
    int width = mask.length / rows;
    long[] longer = new long[mask.length + rows];
    long[] all = new long[longer.length];
    long fewest = Long.MAX_VALUE;
    for (int row = 0; row < rows; row++) {
      System.arraycopy(mask, row * width, longer, row * (width + 1), width);
      longer[row * (width + 1) + width] = 1;
      System.arraycopy(ids, row * width, all, row * (width + 1), width);
      all[row * (width + 1) + width] = tokens[row];
      fewest = Math.min(fewest, Arrays.stream(mask, row * width, (row + 1) * width).sum());
    }
    if (fewest >= context) {
      throw new InvalidInputException(
          "the model's context is full: it holds " + context + " tokens");
    }
    // What lies in the cache is good no more: all is read again, as transformers does.
    boolean again = width == textLength.switchesAfter();
    if (again) {
      closePast();
    }
    TokenBatch batch = TokenBatch.of(rows, again ? all : tokens, longer);
    for (int i = 0; i < batch.positions().length; i++) {
      // Sequences that have ended are computed on with the others, perhaps past the context.
      batch.positions()[i] = Math.min(batch.positions()[i], context - 1L);
    }
    mask = longer;
    ids = all;
    compute(batch);
  }

  @Override
  public void reorder(int[] from) {
    if (from.length != rows) {
      throw new InvalidInputException(
          "all " + rows + " sequences must be named; given were " + from.length);
    }
    boolean moved = false;
    for (int row = 0; row < rows; row++) {
      if (check(from[row]) / copies != row / copies) {
        throw new InvalidInputException(
            "sequence " + row + " cannot become " + from[row] + ", of another prompt");
      }
      moved |= from[row] != row;
    }
    if (!moved) {
      return;
    }
    long[] moving = ids.clone();
    int width = ids.length / rows;
    for (int row = 0; row < rows; row++) {
      System.arraycopy(moving, from[row] * width, ids, row * width, width);
    }
    Map<String, OnnxTensor> next = new HashMap<>();
    past.forEach((name, tensor) -> next.put(name, reordered(tensor, from)));
    closePast();
    past = next;
    ownsPast = true;
  }

  private OnnxTensor reordered(OnnxTensor tensor, int[] from) {
    FloatBuffer given = tensor.getFloatBuffer();
    int size = given.remaining() / rows;
    FloatBuffer moved = Ort.direct(Float.BYTES, given.remaining()).asFloatBuffer();
    for (int row = 0; row < rows; row++) {
      moved.put(row * size, given, from[row] * size, size);
    }
    return Ort.floats(moved, tensor.getInfo().getShape());
  }

  private void closePast() {
    if (ownsPast) {
      past.values().forEach(OnnxTensor::close);
    }
    ownsPast = false;
    past = Map.of();
    OrtSession.Result before = result;
    if (before != null) {
      before.close();
    }
    result = null;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      closePast();
      run.close();
    }
  }
}
