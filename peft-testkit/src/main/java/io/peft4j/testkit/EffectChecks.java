package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** What acts when. */
abstract class EffectChecks extends Checks {
  EffectChecks(Supplier<Fixture> source) {
    super(source);
  }

  @Test
  void aNewAdapterChangesNothingUnlessItsConfigurationSaysSo() {
    float[] plain = network.output();
    try (PeftModel model = wrap()) {
      if (fixture.startsAsBase()) {
        Numbers.assertClose(plain, forward(model), 1e-6, "a new adapter's output");
      } else {
        Numbers.assertDiffers(plain, forward(model), "a new adapter's output");
      }
    }
  }

  @Test
  void aMovedAdapterActsAndCanBeDisabled() {
    float[] plain = network.output();
    try (PeftModel model = wrapRandom()) {
      float[] adapted = forward(model);
      Numbers.assertDiffers(plain, adapted, "the adapter's output");
      model.disableAdapters();
      Numbers.assertSame(plain, forward(model), "the disabled model's output");
      model.setActiveAdapters(A);
      Numbers.assertSame(adapted, forward(model), "the output after disabling");
      assertFalse(model.layerReport(A).isEmpty());
    }
  }

  @Test
  void requestsChooseTheirAdapters() {
    float[] plain = network.output();
    try (PeftModel model = wrapTwo()) {
      float[] first = forward(model);
      Numbers.assertSame(first, forward(model, A), "the named default");
      Numbers.assertSame(plain, forward(model, new String[0]), "a request without adapters");
      float[] second = forward(model, B);
      Numbers.assertDiffers(first, second, "the second adapter's output");
      Numbers.assertSame(first, forward(model), "the model's own setting after a request");
      model.setActiveAdapters(B);
      Numbers.assertSame(second, forward(model), "the model's new setting");
      assertEquals(AdapterSet.of(B), model.activeAdapters());
    }
  }

  @Test
  void strengthsScaleTheEffect() {
    assumeTrue(fixture.additive());
    float[] plain = network.output();
    try (PeftModel model = wrapRandom()) {
      float[] full = forward(model);
      AdapterSet none = AdapterSet.none();
      Numbers.assertSame(full, forward(model, none.and(A, 1)), "the output at strength 1");
      Numbers.assertClose(
          plain, forward(model, none.and(A, 0)), fixture.tolerance(), "the output at strength 0");
      Numbers.assertDiffers(full, forward(model, none.and(A, 0.5)), "the output at strength 0.5");
    }
  }

  @Test
  void effectsAddUpAndScaleInTheWeights() {
    assumeTrue(fixture.additive() && fixture.mergeable());
    Map<String, float[]> base = network.weights();
    AdapterSet none = AdapterSet.none();
    Map<String, float[]> a = mergedWeights(none.and(A, 1));
    Map<String, float[]> b = mergedWeights(none.and(B, 1));
    Map<String, float[]> both = mergedWeights(none.and(A, 0.5).and(B, -2));
    Map<String, float[]> expected = new HashMap<>();
    base.forEach(
        (name, w) -> {
          float[] sum = w.clone();
          for (int i = 0; i < sum.length; i++) {
            sum[i] += 0.5f * (Numbers.at(a, name)[i] - w[i]) - 2 * (Numbers.at(b, name)[i] - w[i]);
          }
          expected.put(name, sum);
        });
    Numbers.assertClose(expected, both, fixture.tolerance(), "the weights of both");
  }

  private Map<String, float[]> mergedWeights(AdapterSet set) {
    try (TestNetwork own = fixture.network();
        PeftModel model = Peft.open(own.block())) {
      Engine.getEngine("PyTorch").setRandomSeed(12);
      model.addAdapter(A, fixture.config());
      randomise(model, A, 1);
      model.addAdapter(B, fixture.other());
      randomise(model, B, 2);
      model.setActiveAdapters(set);
      model.mergeAndUnload();
      return own.weights();
    }
  }

  @Test
  void twoAdaptersActTogetherInEitherOrder() {
    assumeTrue(fixture.additive());
    try (PeftModel model = wrapTwo()) {
      float[] both = forward(model, A, B);
      Numbers.assertDiffers(forward(model, A), both, "the output of both");
      Numbers.assertDiffers(forward(model, B), both, "the output of both");
      Numbers.assertClose(both, forward(model, B, A), fixture.tolerance(), "the other order");
    }
  }

  @Test
  void adaptersThatReplaceTheSameParameterAreNotCombined() {
    assumeFalse(fixture.combinable());
    try (PeftModel model = wrapTwo()) {
      float[] before = forward(model);
      assertRefused(() -> model.setActiveAdapters(A, B), A, B, "cannot act together");
      assertRefused(() -> model.with(A, B), A, B, "cannot act together");
      Numbers.assertSame(before, forward(model), "the output after the refusal");
    }
  }

  @Test
  void theSameSeedGivesTheSameAdapter() {
    try (PeftModel model = wrap()) {
      Engine.getEngine("PyTorch").setRandomSeed(11);
      model.addAdapter("first", fixture.config());
      Engine.getEngine("PyTorch").setRandomSeed(11);
      model.addAdapter("second", fixture.config());
      Numbers.assertSame(state(model, "first"), state(model, "second"), "the second adapter");
    }
  }

  @Test
  void parametersAreCounted() {
    try (PeftModel model = wrapTwo()) {
      long values = 0;
      for (NDArray array : model.adapter(A).parameters().values()) {
        values += array.getShape().size();
      }
      assertEquals(values, model.trainableParameterReport().trainable());
      model.trainAdapters();
      assertEquals(0, model.trainableParameterReport().trainable());
      assertTrue(model.trainableParameterReport().all() >= model.layout().parameterCount());
      assertEquals(List.of(), model.trainableParameters());
    }
  }

  @Test
  void aRequestLeavesOnlyItsOutputBehind() {
    try (PeftModel model = wrapRandom();
        NDManager step = manager.newSubManager()) {
      int before = LiveArrays.count();
      NDArray output = model.forward(network.inputs(step)).head();
      LiveArrays.assertCount(before + 2, "a request, with its input and output");
      assertEquals(step, output.getManager());
      assertFalse(output.hasGradient());
    }
  }
}
