package io.peft4j.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.Device;
import ai.djl.ndarray.NDManager;
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
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.target.LayerKind;
import io.peft4j.target.LayerSpec;
import java.util.List;
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
