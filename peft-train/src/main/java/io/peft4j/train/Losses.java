package io.peft4j.train;

import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.InvalidConfigException;
import io.peft4j.nn.NextTokens;
import io.peft4j.torch.Kernel;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The usual losses. Labels are int64; the label {@value #IGNORED} marks what does not count. */
public final class Losses {
  /** The label of items that do not count. */
  public static final long IGNORED = NextTokens.IGNORED;

  private static final Kernel CROSS_ENTROPY =
      Kernel.of(
          "y: Tensor, t: Tensor -> Tensor",
          "return torch.cross_entropy_loss(torch.to(y, 6), t, None, 1, -100, 0.)");
  private static final Map<Double, Kernel> CAUSAL = new ConcurrentHashMap<>();
  private static final Kernel TOKENS =
      Kernel.of(
          "y: Tensor, t: Tensor -> Tensor",
          "z = torch.reshape(torch.to(y, 6), [-1, torch.size(y, -1)])",
          "return torch.cross_entropy_loss(z, torch.reshape(t, [-1]), None, 1, -100, 0.)");
  private static final Kernel ANSWERS =
      Kernel.of(
          "y: Tensor, z: Tensor, s: Tensor, e: Tensor -> Tensor",
          "n = torch.size(y, 1)",
          "t = torch.clamp(s, 0, n)",
          "u = torch.clamp(e, 0, n)",
          "a = torch.cross_entropy_loss(torch.to(y, 6), t, None, 1, n, 0.)",
          "b = torch.cross_entropy_loss(torch.to(z, 6), u, None, 1, n, 0.)",
          "return torch.div(torch.add(a, b), 2)");
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
    return causalLanguageModel(0);
  }

  /**
   * Cross entropy of causal language models with smoothed labels, as transformers' {@code
   * LabelSmoother} computes it: 1 - e times the plain loss, and e times the mean of -log p over the
   * vocabulary.
   *
   * @param smoothing e, in [0, 1)
   * @return a loss as of {@link #causalLanguageModel()}
   * @throws InvalidConfigException if the smoothing is out of range
   */
  public static Loss causalLanguageModel(double smoothing) {
    return new Causal(
        new CrossEntropy(
            CAUSAL.computeIfAbsent(smoothing, Losses::causal),
            COUNT_SHIFTED,
            3,
            2,
            "token ids int64 [rows, length]"),
        smoothing);
  }

  // The last position predicts nothing: ignoring it there saves a copy of all the other logits.
  private static Kernel causal(double smoothing) {
    if (!(smoothing >= 0 && smoothing < 1)) {
      throw new InvalidConfigException(
          "label smoothing must be at least 0 and below 1, was " + smoothing);
    }
    return Kernel.of(
        "y: Tensor, t: Tensor -> Tensor",
        "n = torch.constant_pad_nd(torch.slice(t, 1, 1), [0, 1], -100)",
        "z = torch.reshape(torch.to(y, 6), [-1, torch.size(y, -1)])",
        "r = torch.reshape(n, [-1])",
        "return torch.cross_entropy_loss(z, r, None, 1, -100, " + smoothing + ")");
  }

  /** A cross entropy that models know a cheaper way to. */
  private record Causal(CrossEntropy general, double smoothing) implements Loss {

    @Override
    public NDArray compute(NDList outputs, NDList labels) {
      return general.compute(outputs, labels);
    }

    @Override
    public long items(NDList labels) {
      return general.items(labels);
    }

    @Override
    public NextTokens nextTokens(NDList labels) {
      return new NextTokens(general.check(labels), smoothing);
    }
  }

  /**
   * Softmax cross entropy of classifiers of tokens, mean over the labels that count.
   *
   * @return a loss of the first output, logits [rows, length, classes], and the first label array,
   *     class numbers int64 [rows, length]
   */
  public static Loss tokenClassification() {
    return new CrossEntropy(TOKENS, COUNT, 3, 2, "class numbers int64 [rows, length]");
  }

  /**
   * The mean of two cross entropies, as transformers computes it: that of where answers begin and
   * that of where they end. A position below 0 counts as 0; one beyond a row's end does not count.
   * Batches whose gradients are accumulated weigh as much as they have rows.
   *
   * @return a loss of the first two outputs, logits of begin and end, each [rows, length], and the
   *     first two label arrays, positions int64 [rows]
   */
  public static Loss questionAnswering() {
    return new Answers();
  }

  private record Answers() implements Loss {

    @Override
    public NDArray compute(NDList outputs, NDList labels) {
      check(labels);
      Shape rows = labels.head().getShape();
      for (int i = 0; i < 2; i++) {
        Shape logits = outputs.size() < 2 ? new Shape() : outputs.get(i).getShape();
        if (logits.dimension() != 2 || logits.get(0) != rows.get(0)) {
          throw new InvalidConfigException(
              "positions "
                  + rows
                  + " need logits of begin and end, each [rows, length]; given were "
                  + Arrays.toString(outputs.getShapes()));
        }
      }
      return ANSWERS.call(outputs.get(0), outputs.get(1), labels.get(0), labels.get(1));
    }

    @Override
    public long items(NDList labels) {
      check(labels);
      return labels.head().getShape().get(0);
    }

    private static void check(NDList labels) {
      boolean fits =
          labels.size() > 1
              && labels.get(0).getShape().dimension() == 1
              && labels.get(0).getShape().equals(labels.get(1).getShape())
              && labels.get(0).getDataType() == DataType.INT64
              && labels.get(1).getDataType() == DataType.INT64;
      if (!fits) {
        throw new InvalidConfigException(
            "labels must be two arrays, where answers begin and end, int64 [rows], were "
                + labels.stream()
                    .map(array -> array.getDataType() + " " + array.getShape())
                    .toList());
      }
    }
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
