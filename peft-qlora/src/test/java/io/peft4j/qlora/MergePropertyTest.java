package io.peft4j.qlora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.lora.LoraConfig;
import io.peft4j.lora.LoraInitialization;
import io.peft4j.nn.WeightSnapshot;
import io.peft4j.qlora.block.PackedBlocks;
import io.peft4j.qlora.block.QuantType;
import io.peft4j.state.TensorType;
import io.peft4j.testkit.TinyNetwork;
import io.peft4j.torch.GradMode;
import io.peft4j.torch.Precision;
import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;

/** What holds of merging into 4 bits, whatever they are and whatever is merged. */
final class MergePropertyTest {

  @Provide
  Arbitrary<Integer> blockSizes() {
    return Arbitraries.of(PackedBlocks.BLOCK_SIZES);
  }

  @Property(tries = 60)
  void mergingQuantizesTheSumAndUnmergingReturnsTheBytes(
      @ForAll @IntRange(max = 1000) int seed,
      @ForAll QuantType type,
      @ForAll("blockSizes") int blockSize,
      @ForAll boolean nested,
      @ForAll boolean dora,
      @ForAll @IntRange(min = 1, max = 6) int rank,
      @ForAll @DoubleRange(min = 0.01, max = 50) double alpha) {
    BitsAndBytesConfig config =
        BitsAndBytesConfig.builder()
            .type(type)
            .blockSize(blockSize)
            .doubleQuantization(nested)
            .build();
    LoraConfig lora =
        LoraConfig.builder()
            .rank(rank)
            .alpha(alpha)
            .useDora(dora)
            .targetModules("mix", "down")
            .initialization(LoraInitialization.Kind.RANDOM)
            .build();
    try (TinyNetwork base = new TinyNetwork(seed)) {
      Qlora.quantize(base, config);
      Map<String, ByteBuffer> before = Bases.bytes(base);
      try (PeftModel model = Peft.wrap(base, lora)) {
        model.merge();
        Map<String, ByteBuffer> expected = new LinkedHashMap<>(before);
        expected.putAll(quantizedSums(base, config));
        model.unmerge();
        assertEquals(before, Bases.bytes(base));

        model.mergeAsStored(model.activeAdapters());
        assertEquals(expected, Bases.bytes(base));
        model.unmerge();
        assertEquals(before, Bases.bytes(base));
      }
    }
  }

  private static Map<String, ByteBuffer> quantizedSums(
      TinyNetwork base, BitsAndBytesConfig config) {
    Map<String, ByteBuffer> all = new LinkedHashMap<>();
    try (WeightSnapshot lease = base.weights().lease();
        GradMode off = GradMode.off();
        NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      for (int i = 0; i < 2; i++) {
        for (String layer : new String[] {"mix", "down"}) {
          String name = "layers." + i + "." + layer + ".weight";
          NDArray sum = lease.weight(base.layout().parameterIndex(name)).dense();
          try (QuantizedTensor tensor =
              QuantizedTensor.quantize(config, sum, TensorType.F32, name)) {
            all.putAll(Bases.bytes(name, FourBitWeight.of(tensor, Precision.FLOAT32)));
          }
        }
      }
    }
    assertFalse(all.isEmpty());
    return all;
  }
}
