package io.peft4j.torch;

import ai.djl.Device;
import ai.djl.engine.EngineException;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.pytorch.engine.PtNDManager;
import ai.djl.pytorch.engine.PtSymbolBlock;
import ai.djl.pytorch.jni.IValueUtils;
import ai.djl.pytorch.jni.JniUtils;
import io.peft4j.PeftException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.function.Function;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A function of tensors written as TorchScript text: the way to operators that DJL's own interface
 * lacks (fused attention, bfloat16, in-place forms), with gradients flowing through.
 *
 * <p>A TorchScript archive is a zip file of stored entries whose code is text, so one is made in
 * memory and loaded through the engine's public loader. Scalars (scales, dimensions) are part of
 * the text. A call costs a few microseconds more than a built-in operation: put together what
 * belongs together.
 *
 * <p>Kernels are compiled on first use, live as long as the JVM, and may be called from any number
 * of threads. Whether a call is recorded for a backward pass is the calling thread's {@link
 * GradMode}.
 */
public final class Kernel {
  private static final Logger LOG = LoggerFactory.getLogger(Kernel.class);
  private static final ThreadLocal<Boolean> PREPARED = new ThreadLocal<>();

  private final String signature;
  private final String body;
  private volatile @Nullable PtSymbolBlock module;

  private Kernel(String signature, String body) {
    this.signature = signature;
    this.body = body;
  }

  /**
   * Describes a kernel; nothing is compiled yet.
   *
   * @param signature parameters and result, for example {@code "x: Tensor, w: Tensor -> Tensor"}
   * @param lines the statements, in TorchScript's serialised dialect ({@code torch.linear(x, w)},
   *     no operators between tensors, integers for dtypes), the last of them a return
   * @return the kernel
   */
  public static Kernel of(String signature, String... lines) {
    return new Kernel(signature, String.join("\n    ", lines));
  }

  /**
   * Runs the kernel.
   *
   * @param inputs tensors, in the order of the signature; they stay the caller's
   * @return the single result, attached to the manager of the first input
   */
  public NDArray call(NDArray... inputs) {
    return callMany(inputs).head();
  }

  /**
   * Runs a kernel that returns several tensors.
   *
   * @param inputs tensors, in the order of the signature; they stay the caller's
   * @return the results, attached to the manager of the first input
   */
  public NDList callMany(NDArray... inputs) {
    prepareThread();
    NDList arguments = new NDList(inputs.length);
    for (NDArray input : inputs) {
      // The engine packs named arrays into a dictionary; a view has no name.
      arguments.add(input.getName() == null ? input : input.reshape(input.getShape()));
    }
    // "training" only keeps the results from becoming inference tensors, which autograd refuses.
    return IValueUtils.forward(module(), arguments, true);
  }

  /**
   * Tells whether the engine has what this kernel calls on this machine, by a trial. Some operators
   * exist on some processors only.
   *
   * @param sample makes an input for the trial, on the CPU
   * @return false if the call failed
   */
  public boolean works(Function<NDManager, NDArray> sample) {
    try (NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
        GradMode off = GradMode.off();
        NDArray input = sample.apply(manager);
        NDArray output = call(input)) {
      return true;
    } catch (EngineException | PeftException e) {
      LOG.info("not on this machine: {} ({})", body, e.getMessage());
      return false;
    }
  }

  private PtSymbolBlock module() {
    PtSymbolBlock loaded = module;
    if (loaded == null) {
      synchronized (this) {
        loaded = module;
        if (loaded == null) {
          loaded = load();
          module = loaded;
        }
      }
    }
    return loaded;
  }

  private PtSymbolBlock load() {
    int arrow = signature.lastIndexOf("->");
    String code =
        "class Kernel(Module):\n"
            + "  __parameters__ = []\n"
            + "  __buffers__ = []\n"
            + "  training : bool\n"
            + "  def forward(self: __torch__.Kernel, "
            + signature.substring(0, arrow).trim()
            + ") -> "
            + signature.substring(arrow + 2).trim()
            + ":\n    "
            + body
            + "\n";
    try {
      return JniUtils.loadModule(
          Modules.MANAGER, new ByteArrayInputStream(archive(code)), false, false);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (RuntimeException e) {
      throw new PeftException("kernel does not compile:\n" + code, e);
    }
  }

  /** Turns off the engine's profiling executor on this thread: it re-specialises for each shape. */
  static void prepareThread() {
    if (PREPARED.get() == null) {
      JniUtils.setGraphExecutorOptimize(false);
      PREPARED.set(Boolean.TRUE);
    }
  }

  /** Owns the compiled kernels, which are few and live as long as the JVM. */
  private static final class Modules {
    private static final PtNDManager MANAGER =
        (PtNDManager) NDManager.newBaseManager(Device.cpu(), "PyTorch");
  }

  private static byte[] archive(String code) throws IOException {
    ByteArrayOutputStream pickle = new ByteArrayOutputStream();
    // An object of class __torch__.Kernel with {"training": False}, in pickle protocol 2.
    pickle.writeBytes(new byte[] {(byte) 0x80, 2});
    pickle.writeBytes("c__torch__\nKernel\n)".getBytes(StandardCharsets.UTF_8));
    pickle.writeBytes(new byte[] {(byte) 0x81, '}', '(', 'X', 8, 0, 0, 0});
    pickle.writeBytes("training".getBytes(StandardCharsets.UTF_8));
    pickle.writeBytes(new byte[] {(byte) 0x89, 'u', 'b', '.'});

    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(out)) {
      zip.setMethod(ZipOutputStream.STORED);
      store(zip, "ops/version", "10\n".getBytes(StandardCharsets.UTF_8));
      store(zip, "ops/constants.pkl", new byte[] {(byte) 0x80, 2, ')', '.'});
      store(zip, "ops/data.pkl", pickle.toByteArray());
      store(zip, "ops/code/__torch__.py", code.getBytes(StandardCharsets.UTF_8));
    }
    return out.toByteArray();
  }

  private static void store(ZipOutputStream zip, String name, byte[] bytes) throws IOException {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    ZipEntry entry = new ZipEntry(name);
    entry.setSize(bytes.length);
    entry.setCompressedSize(bytes.length);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(bytes);
    zip.closeEntry();
  }
}
