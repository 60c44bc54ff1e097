package io.peft4j.models;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.Pass;
import io.peft4j.nn.PassLease;
import io.peft4j.nn.PassSource;
import io.peft4j.torch.GradMode;
import java.util.List;

/**
 * Passes over one lease and one cache, with the checks that come before them. Used by one thread at
 * a time; whoever opens it closes it.
 */
final class DecoderPasses implements AutoCloseable {
  private final PretrainedModel model;
  private final PassLease lease;
  private final DecoderRows rows;
  private final KeyValueCache cache;

  private DecoderPasses(
      PretrainedModel model, PassLease lease, int[] pads, int copies, long capacity) {
    this.model = model;
    this.lease = lease;
    try (NDManager manager = NDManager.newBaseManager(model.device(), "PyTorch")) {
      rows = new DecoderRows(lease, manager, pads, copies);
    }
    cache =
        new KeyValueCache(
            model.network().cacheShape().orElseThrow(), model.device(), pads.length, capacity);
  }

  /**
   * Takes a lease and makes a cache.
   *
   * @param pads how far each prompt is padded
   * @param capacity tokens of a row to make room for at first
   */
  static DecoderPasses open(PassSource source, int[] pads, int copies, long capacity) {
    PretrainedModel model = causal(source);
    PassLease lease = source.lease(pads.length, copies);
    try {
      long room = Math.min(capacity, model.network().limits().longest());
      return new DecoderPasses(model, lease, pads, copies, room);
    } catch (RuntimeException | Error e) {
      lease.close();
      throw e;
    }
  }

  // --- checks ---------------------------------------------------------------------------------

  static PretrainedModel causal(PassSource source) {
    if (!(source.backbone() instanceof PretrainedModel model)) {
      throw new InvalidInputException(
          "text is generated with a PretrainedModel, by itself or with adapters; given was a "
              + source.backbone().getClass().getSimpleName());
    }
    String name = model.architecture();
    boolean head = name.endsWith("ForCausalLM") || name.endsWith("LMHeadModel");
    if (!head || model.network().cacheShape().isEmpty()) {
      throw new InvalidInputException(
          name + " is not a causal language model: it gives no logits of what comes next");
    }
    return model;
  }

  /** Checks prompts and gives the length of the longest. */
  static int checkPrompts(Network.InputLimits limits, List<long[]> prompts) {
    if (prompts.isEmpty()) {
      throw new InvalidInputException("at least one prompt is needed; given were none");
    }
    int longest = 0;
    for (long[] prompt : prompts) {
      if (prompt.length == 0) {
        throw new InvalidInputException("a prompt must have at least one token; given was none");
      }
      longest = Math.max(longest, prompt.length);
      checkTokens(limits, prompt);
    }
    checkLength(limits, "prompt", longest);
    return longest;
  }

  static void checkLength(Network.InputLimits limits, String what, int length) {
    if (length > limits.longest()) {
      throw new InvalidInputException(
          "the "
              + what
              + " has "
              + length
              + " tokens, but the model's context holds only "
              + limits.longest());
    }
  }

  static void checkTokens(Network.InputLimits limits, long[] tokens) {
    for (long token : tokens) {
      if (token < 0 || token >= limits.vocabulary()) {
        throw new InvalidInputException(
            "tokens must be from 0 to "
                + (limits.vocabulary() - 1)
                + ", which is what the model has embeddings for; given was "
                + token
                + ". Is the tokenizer another model's?");
      }
    }
  }

  /** Sequences that have ended may go past the context beside others, but not all of them. */
  void checkRoom() {
    if (cache.length() - rows.longestPad() >= limits().longest()) {
      throw new InvalidInputException(
          "there is no room for another token: the model's context holds only "
              + limits().longest()
              + ", and every sequence has as many");
    }
  }

  // --- passes ---------------------------------------------------------------------------------

  Network.InputLimits limits() {
    return model.network().limits();
  }

  Pass pass() {
    return lease.pass();
  }

  Network.TextLength textLength() {
    return model.network().textLength();
  }

  DecoderRows rows() {
    return rows;
  }

  KeyValueCache cache() {
    return cache;
  }

  /** What is made of the logits before the pass's arrays are closed. */
  interface Use<T> {
    T of(NDManager manager, NDArray logits);
  }

  /**
   * Computes the next tokens of all rows.
   *
   * @param ids [batch, length]
   * @param batch prompts or sequences
   * @param lastOnly whether logits are [batch, 1, vocabulary], not [batch, length, vocabulary]
   */
  <T> T forward(Pass pass, long[] ids, int batch, boolean lastOnly, Use<T> use) {
    int length = ids.length / batch;
    long past = cache.length();
    long[] positions = rows.positions(batch, past, length, limits().longest() - 1L);
    try (GradMode off = GradMode.off();
        NDManager manager = NDManager.newBaseManager(model.device(), "PyTorch");
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      Shape shape = new Shape(batch, length);
      ModelInputs inputs =
          ModelInputs.step(
              manager.create(ids, shape),
              rows.padding(manager, batch, past + length),
              manager.create(positions, shape),
              cache,
              lastOnly);
      return use.of(manager, model.network().forward(pass, inputs).head());
    }
  }

  @Override
  public void close() {
    cache.close();
    lease.close();
  }
}
