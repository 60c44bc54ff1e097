package io.peft4j.qlora.block;

import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which kernels unpack on this machine: those of the Vector API where the JVM was started with
 * {@code --add-modules jdk.incubator.vector}, else plain loops. Chosen when first asked for, and
 * said in the log once.
 */
final class Decoders {
  private static final Logger LOG = LoggerFactory.getLogger(Decoders.class);
  private static final String MODULE = "jdk.incubator.vector";

  private Decoders() {}

  /** Holds the choice. */
  private static final class Chosen {
    private static final BlockDecoder BEST = choose();
  }

  static BlockDecoder best() {
    return Chosen.BEST;
  }

  private static BlockDecoder choose() {
    Optional<BlockDecoder> vector = vector();
    BlockDecoder chosen = vector.orElseGet(PlainDecoder::new);
    LOG.info(
        "4-bit weights are unpacked by {}{}",
        chosen.description(),
        vector.isPresent() ? "" : "; --add-modules " + MODULE + " may be faster");
    return chosen;
  }

  /** The vector kernels, if the module is there and registers are wide enough. */
  static Optional<BlockDecoder> vector() {
    if (ModuleLayer.boot().findModule(MODULE).isEmpty()) {
      return Optional.empty();
    }
    try {
      // By name: the class cannot be linked without the module.
      Class<?> type = Class.forName("io.peft4j.qlora.block.VectorDecoder");
      if (!(boolean) type.getDeclaredMethod("isUseful").invoke(null)) {
        return Optional.empty();
      }
      return Optional.of((BlockDecoder) type.getDeclaredConstructor().newInstance());
    } catch (ReflectiveOperationException | LinkageError e) {
      LOG.warn("the Vector API of this JVM is not the one expected", e);
      return Optional.empty();
    }
  }
}
