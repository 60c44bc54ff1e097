package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Block;
import ai.djl.nn.Blocks;
import ai.djl.nn.SequentialBlock;
import ai.djl.nn.convolutional.Conv1d;
import ai.djl.nn.convolutional.Conv2d;
import ai.djl.nn.core.Linear;
import ai.djl.nn.norm.BatchNorm;
import ai.djl.nn.transformer.IdEmbedding;
import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftException;
import io.peft4j.PeftModel;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** How stock DJL networks are read. */
final class StockBackboneTest {
  private final NDManager manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");

  @AfterEach
  void close() {
    manager.close();
  }

  private Block initialised(Block block, Shape shape) {
    block.initialize(manager, DataType.FLOAT32, shape);
    return block;
  }

  private static List<String> describe(Block block) {
    return StockBackbone.of(block).layout().layers().stream()
        .map(layer -> layer.path() + " " + layer.kind() + " " + layer.weight() + bias(layer))
        .toList();
  }

  private static String bias(LayerSpec layer) {
    return layer.bias() ? " bias" : "";
  }

  @Test
  void layersAreFoundByTheirPlaceInTheTree() {
    Block block =
        new SequentialBlock()
            .add(
                new SequentialBlock()
                    .add(Conv2d.builder().setFilters(3).setKernelShape(new Shape(2, 2)).build())
                    .add(BatchNorm.builder().build()))
            .add(array -> new ai.djl.ndarray.NDList(array.head().reshape(2, 3, -1)))
            .add(Conv1d.builder().setFilters(2).setKernelShape(new Shape(2)).optBias(false).build())
            .add(Blocks.batchFlattenBlock())
            .add(Linear.builder().setUnits(4).build());
    assertEquals(
        List.of(
            "01SequentialBlock.01Conv2d CONV2D (3, 1, 2, 2) bias",
            "03Conv1d CONV1D (2, 3, 2)",
            "05Linear LINEAR (4, 22) bias"),
        describe(initialised(block, new Shape(2, 1, 4, 5))));
    assertTrue(
        StockBackbone.of(block)
            .layout()
            .parameterNames()
            .contains("01SequentialBlock.02BatchNorm.runningMean"));
  }

  @Test
  void embeddingsHaveOneNameForTheirWeight() {
    Block block =
        new SequentialBlock()
            .add(new IdEmbedding.Builder().setDictionarySize(5).setEmbeddingSize(3).build());
    StockBackbone backbone = StockBackbone.of(initialised(block, new Shape(2, 4)));
    assertEquals(LayerKind.EMBEDDING, backbone.layout().layers().get(0).kind());
    assertEquals(List.of("01IdEmbedding.weight"), backbone.layout().parameterNames());
  }

  @Test
  void aLayerThatAppearsTwiceIsOne() {
    Linear shared = Linear.builder().setUnits(3).build();
    Block block = initialised(new SequentialBlock().add(shared).add(shared), new Shape(2, 3));
    assertEquals(List.of("01Linear LINEAR (3, 3) bias"), describe(block));
  }

  @Test
  void modelsThatAreOpenOverOneNetworkShareItsWeights() {
    Block block =
        initialised(
            new SequentialBlock().add(Linear.builder().setUnits(3).build()), new Shape(2, 3));
    StockBackbone alone = StockBackbone.of(block);
    assertNotSame(alone, StockBackbone.of(block));
    try (PeftModel first = Peft.open(block);
        PeftModel second = Peft.open(block)) {
      StockBackbone shared = StockBackbone.of(block);
      assertSame(shared, StockBackbone.of(block));
      assertEquals(2, shared.weights().wrappers());
      assertEquals(first.layout(), second.layout());
    }
    assertEquals(0, StockBackbone.of(block).weights().wrappers());
  }

  @Test
  void modelsThatAreOpenedAtOnceShareItsWeightsToo() throws Exception {
    int threads = 4;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      for (int round = 0; round < 200; round++) {
        Block block =
            initialised(
                new SequentialBlock().add(Linear.builder().setUnits(2).build()), new Shape(1, 2));
        CyclicBarrier start = new CyclicBarrier(threads);
        List<Future<PeftModel>> models = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
          models.add(
              pool.submit(
                  () -> {
                    start.await();
                    return Peft.open(block);
                  }));
        }
        for (Future<PeftModel> model : models) {
          model.get();
        }
        assertEquals(threads, StockBackbone.of(block).weights().wrappers(), "round " + round);
        for (Future<PeftModel> model : models) {
          model.get().close();
        }
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void parametersAreNotOverwrittenWhilePassesComputeWithThem() {
    Block block =
        initialised(
            new SequentialBlock().add(Linear.builder().setUnits(2).build()), new Shape(1, 2));
    NDArray own = block.getParameters().valueAt(0).getArray();
    float[] before = own.toFloatArray();
    StockBackbone backbone = StockBackbone.enter(block);
    WeightStore weights = backbone.weights();
    int index = backbone.layout().parameterIndex("01Linear.weight");
    NDArray merged = Scopes.unmanaged(manager.ones(new Shape(2, 2)));

    WeightSnapshot early = weights.lease();
    WeightStore.Replacement replacement =
        weights.replace(Map.of(index, DenseWeight.owning(merged)));
    WeightSnapshot other = replacement.leaseBefore();
    String message =
        assertThrows(AdapterStateException.class, () -> backbone.keep(replacement)).getMessage();
    assertTrue(message.contains("while 2 passes compute with them"), message);
    early.close();
    message =
        assertThrows(AdapterStateException.class, () -> backbone.keep(replacement)).getMessage();
    assertTrue(message.contains("while 1 pass computes with them"), message);
    assertArrayEquals(before, own.toFloatArray());
    other.close();

    // Those that compute with the merged weights do not mind.
    try (WeightSnapshot late = weights.lease()) {
      backbone.keep(replacement);
      assertArrayEquals(new float[] {1, 1, 1, 1}, late.weight(index).dense().toFloatArray());
    }
    assertArrayEquals(new float[] {1, 1, 1, 1}, own.toFloatArray());
    weights.leave();
  }

  @Test
  void inputsThatAreNoneAreRefused() {
    Block block =
        initialised(
            new SequentialBlock().add(Linear.builder().setUnits(2).build()), new Shape(1, 2));
    try (PeftModel model = Peft.open(block)) {
      String message =
          assertThrows(PeftException.class, () -> model.forward(new NDList())).getMessage();
      assertEquals("the network needs at least one input; given was none", message);
    }
  }

  @Test
  void outputsBelongToTheCallersScope() {
    Block block =
        initialised(
            new SequentialBlock().add(Linear.builder().setUnits(2).build()), new Shape(1, 2));
    try (PeftModel model = Peft.open(block)) {
      NDArray input = manager.ones(new Shape(1, 2));
      NDArray output;
      try (NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        output = model.with().forward(new NDList(input)).head();
        assertEquals(2, output.toFloatArray().length);
      }
      assertThrows(IllegalStateException.class, output::toFloatArray);
      NDArray kept = model.forward(new NDList(input)).head();
      assertEquals(2, kept.toFloatArray().length);
      assertEquals(manager, kept.getManager());
    }
  }

  @Test
  void whatCannotBeAdaptedIsNamed() {
    Block fresh = new SequentialBlock().add(Linear.builder().setUnits(3).build());
    refused("01Linear.weight is not initialised", fresh);
    Block wide = new SequentialBlock().add(Linear.builder().setUnits(3).build());
    wide.initialize(manager, DataType.FLOAT64, new Shape(2, 3));
    refused("01Linear.weight is FLOAT64: stock networks are adapted in float32", wide);
    refused("no parameters", new SequentialBlock().add(Blocks.batchFlattenBlock()));
  }

  private static void refused(String words, Block block) {
    InvalidConfigException e =
        assertThrows(InvalidConfigException.class, () -> StockBackbone.of(block));
    assertTrue(
        String.valueOf(e.getMessage())
            .toLowerCase(java.util.Locale.ROOT)
            .contains(words.toLowerCase(java.util.Locale.ROOT)),
        e.getMessage());
  }
}
