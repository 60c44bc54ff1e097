package io.peft4j.train;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.torch.Kernel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.IntFunction;

/**
 * Operations on lists of tensors, up to {@value #CHUNK} tensors a kernel call: an adapter has
 * hundreds of small tensors, and a call for each would cost several times the arithmetic. Callers
 * hold a scope that frees the results, and have gradients off.
 *
 * <p>The arrays must not have dotted names: the engine takes such inputs for entries of a
 * dictionary. Gradients and {@linkplain NDArray#stopGradient() detached} aliases have none.
 */
final class ForEach {
  private static final int CHUNK = 32;
  private static final String NORM_CALL = "torch.linalg_vector_norm";
  private static final String VERSION_CALL = "torch._version";

  private static final Map<Integer, Kernel> ADAMW = new ConcurrentHashMap<>();
  private static final Map<Integer, Kernel> NORM = new ConcurrentHashMap<>();
  private static final Map<Integer, Kernel> SCALE = new ConcurrentHashMap<>();
  private static final Map<Integer, Kernel> ZERO = new ConcurrentHashMap<>();
  private static final Map<Integer, Kernel> VERSIONS = new ConcurrentHashMap<>();
  private static final Kernel NORM_OF_NORMS =
      Kernel.of("x: Tensor -> Tensor", "return torch.linalg_vector_norm(x)");

  private ForEach() {}

  /** The scalars of an AdamW update, the same for all tensors of a call. */
  record AdamWStep(
      double learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double weightDecay,
      long step) {

    /** In the order in which the kernel takes them. */
    double[] scalars() {
      return new double[] {
        1 - learningRate * weightDecay,
        1 - beta1,
        beta2,
        1 - beta2,
        Math.sqrt(1 - Math.pow(beta2, step)),
        epsilon,
        -learningRate / (1 - Math.pow(beta1, step))
      };
    }
  }

  /** Updates values and moments in place. The operations and their order are torch's own. */
  static void adamW(
      AdamWStep step,
      List<NDArray> values,
      List<NDArray> gradients,
      List<NDArray> firstMoments,
      List<NDArray> secondMoments,
      NDManager scratch) {
    NDArray scalars = onCpu(scratch, step.scalars());
    for (int from = 0; from < values.size(); from += CHUNK) {
      int to = Math.min(values.size(), from + CHUNK);
      NDList inputs = new NDList(scalars);
      for (List<NDArray> list : List.of(values, gradients, firstMoments, secondMoments)) {
        inputs.addAll(list.subList(from, to));
      }
      ADAMW
          .computeIfAbsent(to - from, ForEach::adamWKernel)
          .callMany(inputs.toArray(new NDArray[0]));
    }
  }

  /** The 2-norm of all tensors together: a scalar. */
  static NDArray norm(List<NDArray> tensors) {
    return NORM_OF_NORMS.call(norms(tensors));
  }

  /** The 2-norm of each tensor, at least one: [tensors]. */
  static NDArray norms(List<NDArray> tensors) {
    NDList norms = new NDList();
    chunks(
        tensors,
        NORM,
        n -> Kernel.of(signature("x", n), "return torch.stack([" + calls(n, NORM_CALL) + "])"),
        norms::add);
    return norms.size() == 1 ? norms.head() : NDArrays.concat(norms);
  }

  /** Multiplies tensors by a factor, in place. */
  static void scale(List<NDArray> tensors, float factor, NDManager scratch) {
    NDArray scalar = onCpu(scratch, factor);
    for (int from = 0; from < tensors.size(); from += CHUNK) {
      NDList inputs = new NDList(scalar);
      inputs.addAll(tensors.subList(from, Math.min(tensors.size(), from + CHUNK)));
      SCALE
          .computeIfAbsent(inputs.size() - 1, ForEach::scaleKernel)
          .callMany(inputs.toArray(new NDArray[0]));
    }
  }

  /** Sets tensors to 0. */
  static void zero(List<NDArray> tensors) {
    chunks(
        tensors,
        ZERO,
        n -> {
          List<String> lines = new ArrayList<>();
          for (int i = 0; i < n; i++) {
            lines.add("_0 = torch.zero_(x" + i + ")");
          }
          lines.add("return x0");
          return Kernel.of(signature("x", n), lines.toArray(new String[0]));
        },
        ignored -> {});
  }

  /** How often each tensor has been written to in place, as autograd counts it. */
  static long[] versions(List<NDArray> tensors) {
    long[] versions = new long[tensors.size()];
    int[] filled = {0};
    chunks(
        tensors,
        VERSIONS,
        n -> Kernel.of(signature("x", n), "return torch.tensor([" + calls(n, VERSION_CALL) + "])"),
        chunk -> {
          long[] values = chunk.toLongArray();
          System.arraycopy(values, 0, versions, filled[0], values.length);
          filled[0] += values.length;
        });
    return versions;
  }

  private static void chunks(
      List<NDArray> tensors,
      Map<Integer, Kernel> kernels,
      IntFunction<Kernel> kernel,
      Consumer<NDArray> results) {
    for (int from = 0; from < tensors.size(); from += CHUNK) {
      List<NDArray> chunk = tensors.subList(from, Math.min(tensors.size(), from + CHUNK));
      results.accept(
          kernels.computeIfAbsent(chunk.size(), kernel::apply).call(chunk.toArray(new NDArray[0])));
    }
  }

  private static Kernel adamWKernel(int n) {
    List<String> lines = new ArrayList<>();
    String[] scalars = {"decay", "a1", "b2", "a2", "root", "eps", "size"};
    for (int i = 0; i < scalars.length; i++) {
      lines.add(scalars[i] + " = annotate(float, torch.Float(torch.select(s, 0, " + i + ")))");
    }
    for (int i = 0; i < n; i++) {
      lines.add("_0 = torch.mul_(p%d, decay)".formatted(i));
      lines.add("_1 = torch.lerp_(m%d, g%d, a1)".formatted(i, i));
      lines.add("_2 = torch.addcmul_(torch.mul_(v%d, b2), g%d, g%d, value=a2)".formatted(i, i, i));
      lines.add("d = torch.add_(torch.div_(torch.sqrt(v%d), root), eps)".formatted(i));
      lines.add("_3 = torch.addcdiv_(p%d, m%d, d, value=size)".formatted(i, i));
    }
    lines.add("return s");
    String tensors = String.join(", ", names("p", n), names("g", n), names("m", n), names("v", n));
    return Kernel.of("s: Tensor, " + tensors + " -> Tensor", lines.toArray(new String[0]));
  }

  private static Kernel scaleKernel(int n) {
    List<String> lines = new ArrayList<>();
    lines.add("f = annotate(float, torch.Float(s))");
    for (int i = 0; i < n; i++) {
      lines.add("_0 = torch.mul_(x" + i + ", f)");
    }
    lines.add("return s");
    return Kernel.of("s: Tensor, " + signature("x", n), lines.toArray(new String[0]));
  }

  private static String signature(String letter, int n) {
    return names(letter, n) + " -> Tensor";
  }

  private static String names(String letter, int n) {
    List<String> names = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      names.add(letter + i + ": Tensor");
    }
    return String.join(", ", names);
  }

  private static String calls(int n, String function) {
    List<String> calls = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      calls.add(function + "(x" + i + ")");
    }
    return String.join(", ", calls);
  }

  /** Scalars are read by the host, so they stay there whatever device the tensors are on. */
  private static NDArray onCpu(NDManager scratch, double... values) {
    NDManager cpu = scratch.getDevice().isGpu() ? scratch.newSubManager(Device.cpu()) : scratch;
    return values.length == 1 ? cpu.create(values[0]) : cpu.create(values);
  }
}
