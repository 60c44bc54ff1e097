package io.peft4j.train;

import io.peft4j.state.DynamicMap;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.stream.IntStream;

/**
 * The moments of one parameter in 8 bits: as bitsandbytes' {@code Adam8bit} updates them on the
 * CPU, each block of {@value OptimizerStorage#BLOCK} is unpacked, updated and packed again.
 *
 * @param first codes of the mean of gradients, a byte a value
 * @param firstLargest float32, the largest magnitude of each block
 * @param second codes of the mean of squares
 * @param secondLargest float32, the largest of each block
 */
record BlockMoments(
    ByteBuffer first, ByteBuffer firstLargest, ByteBuffer second, ByteBuffer secondLargest) {
  private static final int BLOCK = OptimizerStorage.BLOCK;

  /** Blocks that a task takes. */
  private static final int SPAN = 64;

  static BlockMoments allocate(MomentMemory memory, long values) {
    long scales = blocks(values) * Float.BYTES;
    return new BlockMoments(
        memory.allocate(values),
        memory.allocate(scales),
        memory.allocate(values),
        memory.allocate(scales));
  }

  static long blocks(long values) {
    return (values + BLOCK - 1) / BLOCK;
  }

  /**
   * Updates the moments and the parameter.
   *
   * @param step rates and decays
   * @param values the parameter's memory
   * @param gradients the gradient's memory
   */
  void update(ForEach.AdamWStep step, ByteBuffer values, ByteBuffer gradients) {
    FloatBuffer to = values.duplicate().order(ByteOrder.nativeOrder()).asFloatBuffer();
    FloatBuffer from = gradients.duplicate().order(ByteOrder.nativeOrder()).asFloatBuffer();
    int blocks = (int) blocks(first.capacity());
    IntStream.range(0, (blocks + SPAN - 1) / SPAN)
        .parallel()
        .forEach(
            task -> {
              Block block = new Block();
              for (int i = task * SPAN; i < Math.min(blocks, (task + 1) * SPAN); i++) {
                block.update(i, step, to, from);
              }
            });
  }

  /** What a block is unpacked to. */
  private final class Block {
    private final byte[] codes = new byte[BLOCK];
    private final float[] mean = new float[BLOCK];
    private final float[] square = new float[BLOCK];
    private final float[] value = new float[BLOCK];
    private final float[] gradient = new float[BLOCK];

    void update(int block, ForEach.AdamWStep step, FloatBuffer to, FloatBuffer from) {
      int begin = block * BLOCK;
      int count = Math.min(BLOCK, first.capacity() - begin);
      unpack(DynamicMap.SIGNED, first, firstLargest, block, count, mean);
      unpack(DynamicMap.UNSIGNED, second, secondLargest, block, count, square);
      to.get(begin, value, 0, count);
      from.get(begin, gradient, 0, count);
      float beta1 = (float) step.beta1();
      float rest1 = (float) (1 - step.beta1());
      float beta2 = (float) step.beta2();
      float rest2 = (float) (1 - step.beta2());
      float root = (float) Math.sqrt(1 - Math.pow(step.beta2(), step.step()));
      float epsilon = (float) step.epsilon();
      float decay = (float) (1 - step.learningRate() * step.weightDecay());
      float size = (float) (-step.learningRate() / (1 - Math.pow(step.beta1(), step.step())));
      for (int i = 0; i < count; i++) {
        float g = gradient[i];
        float m = mean[i] * beta1 + rest1 * g;
        float v = square[i] * beta2 + rest2 * g * g;
        mean[i] = m;
        square[i] = v;
        value[i] = value[i] * decay + size * (m / ((float) Math.sqrt(v) / root + epsilon));
      }
      to.put(begin, value, 0, count);
      pack(DynamicMap.SIGNED, first, firstLargest, block, count, mean);
      pack(DynamicMap.UNSIGNED, second, secondLargest, block, count, square);
    }

    private void unpack(
        DynamicMap map, ByteBuffer packed, ByteBuffer largest, int block, int count, float[] to) {
      packed.get(block * BLOCK, codes, 0, count);
      float scale = largest.getFloat(block * Float.BYTES);
      float[] table = map.values();
      for (int i = 0; i < count; i++) {
        to[i] = table[codes[i] & 0xff] * scale;
      }
    }

    private void pack(
        DynamicMap map, ByteBuffer packed, ByteBuffer largest, int block, int count, float[] from) {
      float most = 0;
      for (int i = 0; i < count; i++) {
        most = Math.max(most, Math.abs(from[i]));
      }
      // A block of zeros has any codes; so have those whose inverse is too large for a float.
      float inverse = most < Float.MIN_NORMAL ? 0 : 1 / most;
      for (int i = 0; i < count; i++) {
        codes[i] = map.code(Math.max(-1, Math.min(1, from[i] * inverse)));
      }
      packed.put(block * BLOCK, codes, 0, count);
      largest.putFloat(block * Float.BYTES, most);
    }
  }
}
