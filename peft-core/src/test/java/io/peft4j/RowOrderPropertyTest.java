package io.peft4j;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.nn.Pass.Segment;
import io.peft4j.spi.Adapter;
import io.peft4j.spi.AdapterBuilder;
import io.peft4j.target.ModelLayout;
import java.util.Collections;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;

/** Rows are put side by side by adapter, and back. */
final class RowOrderPropertyTest {
  private static final ModelLayout LAYOUT =
      ModelLayout.builder("test").parameter("p", new Shape(1)).build();

  @Provide
  Arbitrary<List<String>> rows() {
    return Arbitraries.of("a", "b", "c", AdapterSet.BASE).list().ofMinSize(1).ofMaxSize(12);
  }

  private record NoConfig() implements PeftConfig {
    @Override
    public String peftType() {
      return "NONE";
    }

    @Override
    public ObjectNode toJson() {
      return JsonNodeFactory.instance.objectNode();
    }
  }

  private static Adapter adapter() {
    return new AdapterBuilder(LAYOUT, new NoConfig(), NDManager.newBaseManager("PyTorch")).build();
  }

  @Property(tries = 200)
  void segmentsHoldTheRowsOfTheirAdapter(
      @ForAll("rows") List<String> given, @ForAll @IntRange(min = 1, max = 3) int copies) {
    AdapterRegistry registry = new AdapterRegistry(LAYOUT);
    List.of("a", "b", "c").forEach(name -> registry.put(name, adapter()));
    LeasedAdapters leased = registry.lease(AdapterSet.rows(given));
    RowOrder order = new RowOrder(given, copies, leased);
    List<String> rows =
        given.stream().flatMap(row -> Collections.nCopies(copies, row).stream()).toList();
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      float[] numbers = new float[rows.size()];
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = i;
      }
      NDArray input = manager.create(numbers, new Shape(numbers.length, 1));
      input.setName("input");
      NDList sorted = order.sort(new NDList(input));
      assertEquals("input", sorted.head().getName());
      float[] values = sorted.head().toFloatArray();
      long next = 0;
      for (Segment segment : order.segments()) {
        assertEquals(next, segment.begin());
        String name = rows.get((int) values[(int) segment.begin()]);
        for (long row = segment.begin(); row < segment.end(); row++) {
          assertEquals(name, rows.get((int) values[(int) row]));
        }
        if (name.equals(AdapterSet.BASE)) {
          assertEquals(List.of(), segment.adapters());
        } else {
          assertEquals(1, segment.adapters().size());
          assertSame(registry.get(name), segment.adapters().get(0));
        }
        next = segment.end();
      }
      assertEquals(rows.size(), next);
      assertEquals(rows.stream().distinct().count(), order.segments().size());
      assertArrayEquals(numbers, order.restore(sorted).head().toFloatArray());
    } finally {
      leased.close();
      registry.close();
    }
  }
}
