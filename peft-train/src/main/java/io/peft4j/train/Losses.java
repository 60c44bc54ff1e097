package io.peft4j.train;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import io.peft4j.InvalidConfigException;
import io.peft4j.torch.Kernel;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The usual losses. Labels are int64; the label {@value #IGNORED} marks what does not count. */
public final class Losses {
  /** The label of items that do not count. */
  public static final long IGNORED = -100;

  private static final Kernel CROSS_ENTROPY =
      Kernel.of(
          "y: Tensor, t: Tensor -> Tensor",
          "return torch.cross_entropy_loss(torch.to(y, 6), t, None, 1, -100, 0.)");
  // The last position predicts nothing: ignoring it there saves a copy of all the other logits.
  private static final Kernel CAUSAL =
      Kernel.of(
          "y: Tensor, t: Tensor -> Tensor",
          "n = torch.constant_pad_nd(torch.slice(t, 1, 1), [0, 1], -100)",
          "z = torch.reshape(torch.to(y, 6), [-1, torch.size(y, -1)])",
          "return torch.cross_entropy_loss(z, torch.reshape(n, [-1]), None, 1, -100, 0.)");
  private static final Kernel COUNT =
      Kernel.of("t: Tensor -> Tensor", "return torch.sum(torch.ne(t, -100))");
  private static final Kernel COUNT_SHIFTED =
      Kernel.of("t: Tensor -> Tensor", "return torch.sum(torch.ne(torch.slice(t, 1, 1), -100))");

  /** How the engine says that a label is of no class; it has no other way to. */
  private static final Pattern OUTSIDE = Pattern.compile("Target (-?\\d+) is out of bounds");

  private Losses() {}

  /**
   * Softmax cross entropy of classifiers, mean over the rows.
   *
   * @return a loss of the first output, logits [rows, classes], and the first label array, class
   *     numbers int64 [rows]
   */
  public static Loss crossEntropy() {
    return new CrossEntropy(CROSS_ENTROPY, COUNT, 2, 1, "class numbers int64 [rows]");
  }

  /**
   * Cross entropy of causal language models, as transformers computes it: the logits of a position
   * are held against the label of the next, mean over the labels that count.
   *
   * @return a loss of the first output, logits [rows, length, vocabulary], and the first label
   *     array, token ids int64 [rows, length], not shifted
   */
  public static Loss causalLanguageModel() {
    return new CrossEntropy(CAUSAL, COUNT_SHIFTED, 3, 2, "token ids int64 [rows, length]");
  }

  private record CrossEntropy(
      Kernel kernel, Kernel count, int logitsRank, int labelsRank, String expected)
      implements Loss {

    @Override
    public NDArray compute(NDList outputs, NDList labels) {
      NDArray logits = outputs.head();
      NDArray targets = check(labels);
      if (logits.getShape().dimension() != logitsRank
          || !logits.getShape().slice(0, labelsRank).equals(targets.getShape())) {
        throw new InvalidConfigException(
            "logits " + logits.getShape() + " and labels " + targets.getShape() + " do not fit");
      }
      try {
        return kernel.call(logits, targets);
      } catch (EngineException e) {
        Matcher outside = OUTSIDE.matcher(String.valueOf(e.getMessage()));
        if (!outside.find()) {
          throw e;
        }
        throw new InvalidConfigException(
            "labels must be below the number of classes, "
                + logits.getShape().get(logitsRank - 1)
                + ", and not negative (or "
                + IGNORED
                + " to be ignored); one was "
                + outside.group(1));
      }
    }

    @Override
    public long items(NDList labels) {
      try (NDArray items = count.call(check(labels))) {
        return items.getLong();
      }
    }

    private NDArray check(NDList labels) {
      if (labels.isEmpty()
          || labels.head().getDataType() != DataType.INT64
          || labels.head().getShape().dimension() != labelsRank) {
        throw new InvalidConfigException(
            "labels must be "
                + expected
                + ", were "
                + (labels.isEmpty()
                    ? "missing"
                    : labels.head().getDataType() + " " + labels.head().getShape()));
      }
      return labels.head();
    }
  }
}
