package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import io.peft4j.AdapterStateException;
import io.peft4j.nn.Pass;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.nn.PassSource;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Scopes;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A causal language model computing token by token: it has read some prompts, knows the logits of
 * what comes next, and is told what does. What a loop that generates text is written over; {@link
 * io.peft4j.models.generate.Generator} has such loops ready.
 *
 * <p>Prompts of different length are padded on the left, and positions count from each prompt's
 * first token, as in transformers. Each prompt may be continued in several ways at once: its copies
 * lie side by side, so that sequence i continues prompt i / copies.
 *
 * <p>Weights and adapters are leased at the start and stay as they are until this is closed. Used
 * by one thread at a time; the caller closes it.
 */
public final class CausalDecoder implements TokenDecoder {
  /** Most tokens that one pass over prompts computes. */
  private static final int PASS_TOKENS = 4096;

  /** Most tokens beyond the prompts that there is room for at first; room grows as it is needed. */
  private static final int FIRST_ROOM = 512;

  private final DecoderPasses passes;
  private final DecoderRows rows;
  private final int copies;

  /** What each place has read, padding included; kept only for models that may have to again. */
  private final @Nullable List<long[]> texts;

  private boolean copied;
  private boolean closed;
  private @Nullable NDArray logits;
  private @Nullable NDArray normalised;

  private CausalDecoder(DecoderPasses passes, int copies) {
    this.passes = passes;
    this.copies = copies;
    rows = passes.rows();
    copied = copies == 1;
    texts = passes.textLength().switchesAfter() < Integer.MAX_VALUE ? new ArrayList<>() : null;
  }

  /**
   * Checks that a model can generate text.
   *
   * @param source a base, or a model with adapters
   * @return the base
   * @throws InvalidInputException if it is not a causal language model of this library
   */
  public static PretrainedModel causal(PassSource source) {
    return DecoderPasses.causal(source);
  }

  /**
   * What the tokens of a model must satisfy.
   *
   * @param source a base, or a model with adapters
   * @return the size of the vocabulary, the length of the context, and more
   * @throws InvalidInputException if it is not a causal language model
   */
  public static Network.InputLimits limits(PassSource source) {
    return causal(source).network().limits();
  }

  /**
   * Leases weights and adapters and reads prompts.
   *
   * @param source a base, or a model with adapters
   * @param prompts the tokens of each prompt; at least one prompt, each of at least one token and
   *     no longer than the context
   * @param copies in how many ways each prompt will be continued at once, at least 1
   * @param room for how many more tokens to make room at first
   * @return the decoder, which has the logits after the last token of each prompt; the caller
   *     closes it
   * @throws InvalidInputException if the model is not a causal language model, or cannot read the
   *     prompts
   * @throws io.peft4j.AdapterStateException if the model or an adapter is closed, or adapters are
   *     chosen for another number of rows
   */
  public static CausalDecoder start(PassSource source, List<long[]> prompts, int copies, int room) {
    return start(source, prompts, copies, room, PASS_TOKENS);
  }

  static CausalDecoder start(
      PassSource source, List<long[]> prompts, int copies, int room, int passTokens) {
    if (copies < 1 || room < 0) {
      throw new InvalidInputException(
          "a prompt needs at least one copy, and room cannot be negative; given were "
              + copies
              + " and "
              + room);
    }
    int longest = DecoderPasses.checkPrompts(limits(source), prompts);
    int[] pads = prompts.stream().mapToInt(prompt -> longest - prompt.length).toArray();
    DecoderPasses passes =
        DecoderPasses.open(source, pads, copies, (long) longest + Math.min(room, FIRST_ROOM));
    CausalDecoder decoder = new CausalDecoder(passes, copies);
    try {
      int chunk = passes.textLength().inOnePass() ? longest : passTokens / prompts.size();
      decoder.read(prompts, longest, Math.max(1, chunk));
      return decoder;
    } catch (RuntimeException | Error e) {
      decoder.close();
      throw e;
    }
  }

  @Override
  public int vocabulary() {
    return passes.limits().vocabulary();
  }

  @Override
  public int sequences() {
    return rows.sequences();
  }

  // --- logits ---------------------------------------------------------------------------------

  @Override
  public long[] best() {
    try (GradMode off = GradMode.off();
        NDArray indexes = current().argMax(-1)) {
      long[] found = indexes.toLongArray();
      long[] best = new long[sequences()];
      for (int i = 0; i < best.length; i++) {
        best[i] = found[row(i)];
      }
      return best;
    }
  }

  @Override
  public void logits(int sequence, float[] target) {
    copy(current(), row(sequence), target);
  }

  @Override
  public void logProbabilities(int sequence, float[] target) {
    NDArray values = normalised;
    if (values == null) {
      try (GradMode off = GradMode.off()) {
        values = Scopes.unmanaged(current().logSoftmax(-1));
      }
      normalised = values;
    }
    copy(values, row(sequence), target);
  }

  private NDArray current() {
    NDArray values = logits;
    if (values == null) {
      throw new AdapterStateException("the decoder has been closed");
    }
    return values;
  }

  /** The copies of a prompt share the logits until the first step. */
  private int row(int sequence) {
    if (sequence < 0 || sequence >= sequences()) {
      throw new InvalidInputException(
          "there are sequences 0 to " + (sequences() - 1) + "; asked for was " + sequence);
    }
    return copied ? rows.placeOf(sequence) : rows.placeOfPrompt(sequence);
  }

  private void copy(NDArray values, int row, float[] target) {
    values
        .toByteBuffer(true)
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer()
        .get(row * vocabulary(), target, 0, vocabulary());
  }

  // --- passes ---------------------------------------------------------------------------------

  private void read(List<long[]> prompts, int longest, int chunk) {
    int batch = prompts.size();
    try (Pass once = copies == 1 ? null : once(passes.pass())) {
      for (int begin = 0; begin < longest; begin += chunk) {
        int length = Math.min(chunk, longest - begin);
        long[] ids = new long[batch * length];
        for (int place = 0; place < batch; place++) {
          int prompt = rows.promptAt(place);
          long[] tokens = prompts.get(prompt);
          int pad = rows.pad(prompt);
          for (int i = Math.max(0, pad - begin); i < length; i++) {
            ids[place * length + i] = tokens[begin + i - pad];
          }
        }
        if (texts != null) {
          keep(texts, ids, length);
        }
        compute(once == null ? passes.pass() : once, ids, batch);
      }
    }
  }

  /** The tokens of each place of a pass that reads all of a text. */
  private static void keep(List<long[]> texts, long[] ids, int length) {
    for (int begin = 0; begin < ids.length; begin += length) {
      texts.add(Arrays.copyOfRange(ids, begin, begin + length));
    }
  }

  /** The pass with each prompt once: its copies lie side by side, so that segments just shrink. */
  private Pass once(Pass pass) {
    List<Segment> segments =
        pass.segments().stream()
            .map(
                s -> new Segment(s.begin() / copies, s.end() / copies, s.adapters(), s.strengths()))
            .toList();
    return new Pass(pass.weights(), segments, false);
  }

  private void compute(Pass pass, long[] ids, int batch) {
    NDArray result =
        passes.forward(pass, ids, batch, true, (manager, output) -> Scopes.unmanaged(output));
    closeLogits();
    logits = result;
  }

  @Override
  public void step(long[] tokens) {
    if (tokens.length != sequences()) {
      throw new InvalidInputException(
          "a step takes a token for each of "
              + sequences()
              + " sequences; given were "
              + tokens.length);
    }
    DecoderPasses.checkTokens(passes.limits(), tokens);
    passes.checkRoom();
    copyPrompts();
    long[] ids = new long[tokens.length];
    for (int place = 0; place < ids.length; place++) {
      ids[place] = tokens[rows.sequenceAt(place)];
    }
    compute(passes.pass(), texts == null ? ids : grown(texts, ids), ids.length);
  }

  /** The tokens to compute: the new ones, or all again if the texts are too long for the cache. */
  private long[] grown(List<long[]> texts, long[] ids) {
    int length = texts.get(0).length + 1;
    long[] all = new long[ids.length * length];
    for (int place = 0; place < ids.length; place++) {
      long[] text = Arrays.copyOf(texts.get(place), length);
      text[length - 1] = ids[place];
      texts.set(place, text);
      System.arraycopy(text, 0, all, place * length, length);
    }
    // As transformers counts: with the padding of the longest prompt, which has none.
    if (length - 1 != passes.textLength().switchesAfter()) {
      return ids;
    }
    passes.cache().clear();
    return all;
  }

  private void copyPrompts() {
    if (!copied) {
      long[] from = new long[sequences()];
      for (int place = 0; place < from.length; place++) {
        from[place] = place / copies;
      }
      reorderAll(from);
      copied = true;
    }
  }

  @Override
  public void reorder(int[] from) {
    if (from.length != sequences()) {
      throw new InvalidInputException(
          "all " + sequences() + " sequences must be named; given were " + from.length);
    }
    for (int sequence : from) {
      row(sequence);
    }
    long[] places = new long[from.length];
    boolean moved = false;
    for (int place = 0; place < places.length; place++) {
      int sequence = rows.sequenceAt(place);
      if (rows.promptOf(from[sequence]) != rows.promptOf(sequence)) {
        throw new InvalidInputException(
            "sequence " + sequence + " cannot become " + from[sequence] + ", of another prompt");
      }
      places[place] = rows.placeOf(from[sequence]);
      moved |= places[place] != place;
    }
    if (moved && copied) {
      reorderAll(places);
    }
  }

  private void reorderAll(long[] places) {
    passes.cache().reorder(places);
    if (texts != null) {
      List<long[]> before = List.copyOf(texts);
      texts.clear();
      for (long place : places) {
        texts.add(before.get(Math.toIntExact(place)));
      }
    }
  }

  private void closeLogits() {
    for (NDArray held : new @Nullable NDArray[] {logits, normalised}) {
      if (held != null) {
        held.close();
      }
    }
    logits = null;
    normalised = null;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      closeLogits();
      passes.close();
    }
  }
}
