package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDArray;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.MergeReport;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.torch.GradMode;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Merging, and taking it back. */
abstract class MergeChecks extends Checks {
  MergeChecks(Supplier<Fixture> source) {
    super(source);
  }

  private void assumeMergeable() {
    assumeTrue(fixture.mergeable(), "merging is refused");
  }

  @Test
  void whatWeightsCannotExpressIsNotMerged() {
    assumeFalse(fixture.mergeable());
    try (PeftModel model = wrapRandom()) {
      float[] before = forward(model);
      Map<String, float[]> weights = network.weights();
      assertRefused(model::merge, "cannot be merged");
      assertRefused(model::mergeAndUnload, "cannot be merged");
      Numbers.assertSame(before, forward(model), "the output after the refusal");
      Numbers.assertSame(weights, network.weights(), "the weights after the refusal");
    }
  }

  @Test
  void mergedComputesTheSameAndComesBackBitForBit() {
    assumeMergeable();
    float[] plain = network.output();
    Map<String, float[]> weights = network.weights();
    try (PeftModel model = wrapRandom()) {
      float[] adapted = forward(model);
      model.merge();
      assertEquals(AdapterSet.of(A), model.mergedAdapters());
      float[] merged = forward(model);
      Numbers.assertClose(adapted, merged, fixture.tolerance(), "the merged output");
      Numbers.assertDiffers(plain, merged, "the merged output");
      model.merge();
      Numbers.assertSame(merged, forward(model), "the output after merging again");
      Numbers.assertSame(plain, forward(model, new String[0]), "the base's output while merged");
      model.unmerge();
      model.unmerge();
      assertTrue(model.mergedAdapters().isNone());
      Numbers.assertSame(adapted, forward(model), "the output after unmerging");
      Numbers.assertSame(plain, forward(model, new String[0]), "the base's output after unmerging");
      Numbers.assertSame(weights, network.weights(), "the weights after unmerging");
    }
    Numbers.assertSame(plain, network.output(), "the network's own output afterwards");
  }

  @Test
  void whatStaysLiveIsNotLost() {
    assumeTrue(fixture.mergeable() && !fixture.mergeableWhole());
    Map<String, float[]> weights = network.weights();
    try (PeftModel model = wrapRandom()) {
      float[] adapted = forward(model);
      assertRefused(model::mergeAndUnload, "not all of it can be merged", A);
      Numbers.assertSame(weights, network.weights(), "the weights after the refusal");
      MergeReport report = model.merge();
      assertFalse(report.folded().isEmpty());
      assertFalse(report.live().isEmpty());
      Numbers.assertClose(adapted, forward(model), fixture.tolerance(), "the merged output");
    }
  }

  @Test
  void mergedForGoodIsThePlainNetwork() {
    assumeTrue(fixture.mergeableWhole());
    Map<String, float[]> weights = network.weights();
    float[] adapted;
    try (PeftModel model = wrapRandom()) {
      adapted = forward(model);
      assertSame(network.block(), model.mergeAndUnload());
    }
    Numbers.assertClose(adapted, network.output(), fixture.tolerance(), "the network's own output");
    assertTrue(
        network.weights().entrySet().stream()
            .anyMatch(
                entry ->
                    Numbers.error(Numbers.at(weights, entry.getKey()), entry.getValue()) > 1e-3),
        "no weight has changed");
    try (PeftModel again = Peft.open(network.block())) {
      Numbers.assertClose(
          adapted, forward(again), fixture.tolerance(), "the output when opened again");
    }
  }

  @Test
  void otherRequestsGoOnWhileMerged() {
    assumeMergeable();
    try (PeftModel model = wrapTwo()) {
      float[] second = forward(model, B);
      model.merge();
      Numbers.assertSame(second, forward(model, B), "the second adapter's output while merged");
      assertRefused(() -> model.merge(AdapterSet.of(B), false), A, B, "unmerge");
      model.unmerge();
      model.merge(AdapterSet.of(B), true);
      Numbers.assertClose(second, forward(model, B), fixture.tolerance(), "the second, merged");
      model.unmerge();
      Numbers.assertSame(second, forward(model, B), "the second after unmerging");
    }
  }

  @Test
  void whatIsAddedWhileMergedBeginsFromTheBase() {
    assumeTrue(fixture.mergeable() && fixture.startsAsBase());
    float[] plain = network.output();
    try (PeftModel model = wrapRandom()) {
      model.merge();
      model.addAdapter("late", fixture.config());
      Numbers.assertClose(plain, forward(model, "late"), 1e-6, "the new adapter's output");
      model.unmerge();
      Numbers.assertClose(plain, forward(model, "late"), 1e-6, "the new adapter's output later");
      assertEquals(state(model, A).keySet(), state(model, "late").keySet());
    }
  }

  @Test
  void aModelIsNotOpenedOverAMergedBase() {
    assumeMergeable();
    try (PeftModel model = wrapRandom()) {
      model.merge();
      assertRefused(() -> Peft.open(network.block()), "merged", "unmerge");
      model.unmerge();
      Peft.open(network.block()).close();
    }
  }

  @Test
  void nothingToMergeIsNoMerge() {
    try (PeftModel model = wrapRandom()) {
      model.disableAdapters();
      model.merge();
      model.setActiveAdapters(A);
      if (fixture.mergeable()) {
        model.merge();
        assertEquals(AdapterSet.of(A), model.mergedAdapters());
      }
    }
  }

  @Test
  void severalAreMergedTogether() {
    assumeTrue(fixture.mergeable() && fixture.combinable());
    try (PeftModel model = wrapTwo()) {
      for (AdapterSet set :
          new AdapterSet[] {
            AdapterSet.of(A, B), AdapterSet.none().and(A, 0.5).and(B, -1.5), AdapterSet.of(B, A)
          }) {
        model.setActiveAdapters(set);
        float[] both = forward(model);
        model.merge();
        Numbers.assertClose(both, forward(model), fixture.tolerance(), "the merged " + set);
        model.unmerge();
        Numbers.assertSame(both, forward(model), "the unmerged " + set);
      }
    }
  }

  @Test
  void safeMergeRefusesWhatIsNotFinite() {
    assumeMergeable();
    Map<String, float[]> weights = network.weights();
    try (PeftModel model = wrapRandom()) {
      float[] adapted = forward(model);
      model.safeMerge();
      Numbers.assertClose(adapted, forward(model), fixture.tolerance(), "the safely merged output");
      model.unmerge();
      for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
        spoil(model, bad);
        int live = LiveArrays.count();
        assertRefused(model::safeMerge, "NaN or infinite", "nothing was changed");
        LiveArrays.assertCount(live, "a refused merge");
        assertTrue(model.mergedAdapters().isNone());
        Numbers.assertSame(weights, network.weights(), "the weights after a refused merge");
      }
    }
  }

  private static void spoil(PeftModel model, float value) {
    try (GradMode off = GradMode.off()) {
      for (NDArray array : model.adapter(A).parameters().values()) {
        float[] values = array.toFloatArray();
        values[0] = value;
        array.set(values);
      }
    }
  }

  @Test
  void nothingIsMergedWhileAnotherModelIsOpen() {
    assumeMergeable();
    try (PeftModel model = wrapRandom()) {
      try (PeftModel other = Peft.open(network.block())) {
        assertRefused(model::merge, "another model is open");
        assertRefused(model::mergeAndUnload, "another model is open");
      }
      model.merge();
      assertEquals(AdapterSet.of(A), model.mergedAdapters());
    }
  }

  @Test
  void adaptersChosenByRowAreNotMerged() {
    try (PeftModel model = wrapRandom()) {
      assertRefused(() -> model.merge(AdapterSet.rows(A, A, A, A), false), "row");
    }
  }

  @Test
  void closingUndoesAMerge() {
    assumeMergeable();
    float[] plain = network.output();
    PeftModel model = wrapRandom();
    model.merge();
    model.close();
    Numbers.assertSame(plain, network.output(), "the network's output after closing");
  }

  @Test
  void noTrainingOfWhatIsMerged() {
    assumeMergeable();
    try (PeftModel model = wrapTwo()) {
      model.trainAdapters(A, B);
      model.merge();
      assertRefused(
          () -> model.forward(network.inputs(manager), ForwardMode.TRAINING), "merged", "unmerge");
      assertTrue(
          model
                  .with(B)
                  .forward(network.inputs(manager), ForwardMode.TRAINING)
                  .head()
                  .toFloatArray()
                  .length
              > 0);
    }
  }

  @Test
  void deletingTheMergedUndoesTheMerge() {
    assumeMergeable();
    float[] plain = network.output();
    try (PeftModel model = wrapRandom()) {
      model.merge();
      model.deleteAdapter(A);
      assertTrue(model.mergedAdapters().isNone());
      Numbers.assertSame(plain, forward(model), "the output after deleting");
      Numbers.assertSame(plain, network.output(), "the network's output after deleting");
    }
  }

  @Test
  void theMergedIsNotReplaced() {
    assumeMergeable();
    try (PeftModel model = wrapRandom()) {
      model.merge();
      assertRefused(() -> model.loadStateDict(A, model.stateDict(A, manager)), "merged", A);
    }
  }
}
