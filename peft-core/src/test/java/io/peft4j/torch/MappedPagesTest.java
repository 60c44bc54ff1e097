package io.peft4j.torch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import io.peft4j.nn.HalfWeight;
import io.peft4j.state.SafeTensors;
import io.peft4j.state.SafeTensorsWriter;
import io.peft4j.state.SafeTensorsWriter.Entry;
import io.peft4j.state.TensorType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Pages of mapped files are given back, and only they. */
@EnabledOnOs(OS.LINUX)
class MappedPagesTest {
  private static final int ROWS = 4096;
  private static final int COLUMNS = 1024;

  @TempDir Path temporary;

  /** Resident memory that files are mapped to, in KiB. */
  private static long residentFiles() throws Exception {
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("RssFile:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
        .findFirst()
        .orElseThrow();
  }

  private Path written(NDManager manager) throws Exception {
    Path file = temporary.resolve("w.safetensors");
    NDArray values = manager.randomNormal(new Shape(ROWS, COLUMNS)).toType(DataType.FLOAT16, true);
    SafeTensorsWriter.write(file, List.of(Entry.of("w", values)), Map.of());
    return file;
  }

  @Test
  void theFileIsReadAgainAfterItsPagesAreGivenBack() throws Exception {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors file = SafeTensors.open(written(manager))) {
      NDArray array = file.half(manager, "w");
      float[] before = Ops.toFloat32(array).toFloatArray();
      long read = residentFiles();
      MappedPages.ofHalf(array).orElseThrow().release();
      long released = residentFiles();
      assertTrue(read - released > 7 << 10, read + " to " + released);
      assertArrayEquals(before, Ops.toFloat32(array).toFloatArray());
    }
  }

  @Test
  void aPackTakesThePlaceOfThePages() throws Exception {
    try (NDManager manager = NDManager.newBaseManager("PyTorch");
        SafeTensors file = SafeTensors.open(written(manager));
        GradMode off = GradMode.off()) {
      NDArray array = Scopes.unmanaged(file.half(manager, "w"));
      try (HalfWeight weight = new HalfWeight(array, TensorType.BF16, Precision.FLOAT32)) {
        NDArray one = manager.ones(new Shape(1, 1, COLUMNS));
        NDArray many = manager.ones(new Shape(1, 40, COLUMNS));
        float[] expected = weight.linear(many, null).get("0, 0").toFloatArray();
        long read = residentFiles();
        weight.linear(one, null);
        float[] packed = weight.linear(one, null).toFloatArray();
        assertTrue(read - residentFiles() > 7 << 10, "after the pack");
        assertArrayEquals(expected, packed, 1e-3f);
        assertArrayEquals(expected, weight.linear(many, null).get("0, 0").toFloatArray());
        assertTrue(read - residentFiles() > 7 << 10, "after a product of many rows");
      }
    }
  }

  @Test
  void otherMemoryIsLeftAlone() {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDArray array = Ops.toFloat16(manager.ones(new Shape(ROWS, COLUMNS)));
      assertTrue(MappedPages.ofHalf(array).equals(Optional.empty()));
      assertTrue(MappedPages.ofHalf(Ops.toBfloat16(array)).isEmpty());
    }
  }
}
