package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.ndarray.NDList;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.PeftView;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Adding, deleting and closing. */
abstract class LifecycleChecks extends Checks {
  LifecycleChecks(Supplier<Fixture> source) {
    super(source);
  }

  @Test
  void theDeletedActsNoMoreAndIsGone() {
    float[] plain = network.output();
    try (PeftModel model = wrapRandom()) {
      float[] first = forward(model);
      int live = LiveArrays.count();
      model.addAdapter(B, fixture.other());
      randomise(model, B, 2);
      model.setActiveAdapters(B);
      model.trainAdapters(A, B);
      PeftView view = model.with(B);
      model.deleteAdapter(B);
      LiveArrays.assertCount(live, "adding and deleting an adapter");
      assertEquals(List.of(A), model.adapterNames());
      assertEquals(List.of(A), model.trainedAdapters());
      assertTrue(model.activeAdapters().isNone());
      Numbers.assertSame(plain, forward(model), "the output after the active one was deleted");
      Numbers.assertSame(first, forward(model, A), "the other adapter's output");
      assertRefused(() -> forward(view), "'" + B + "'", A);
      assertRefused(() -> model.deleteAdapter(B), "'" + B + "'", A);
      assertRefused(() -> model.setActiveAdapters(B), "'" + B + "'", A);
      assertRefused(() -> model.trainAdapters(B), "'" + B + "'", A);
      model.addAdapter(B, fixture.other());
    }
  }

  @Test
  void aNameIsGivenOnce() {
    try (PeftModel model = wrapRandom()) {
      float[] before = forward(model);
      int live = LiveArrays.count();
      assertRefused(() -> model.addAdapter(A, fixture.config()), "'" + A + "'", "already");
      LiveArrays.assertCount(live, "a refused name");
      Numbers.assertSame(before, forward(model), "the output after the refusal");
    }
  }

  @Test
  void severalModelsShareOneBase() {
    float[] plain = network.output();
    try (PeftModel first = wrapRandom()) {
      float[] output = forward(first);
      int live = LiveArrays.count();
      try (PeftModel second = Peft.wrap(network.block(), fixture.other())) {
        randomise(second, A, 5);
        Numbers.assertDiffers(output, forward(second), "the second model's output");
        Numbers.assertSame(output, forward(first), "the first model's output meanwhile");
      }
      LiveArrays.assertCount(live, "closing the second model");
      Numbers.assertSame(output, forward(first), "the first model's output afterwards");
      assertSame(network.block(), first.unload());
    }
    Numbers.assertSame(plain, network.output(), "the network's own output");
  }

  @Test
  void closingFreesWhatTheModelMade() {
    int live = LiveArrays.count();
    PeftModel model = wrapTwo();
    assertTrue(LiveArrays.count() > live);
    PeftView view = model.with(A);
    NDList inputs = network.inputs(manager);
    model.close();
    model.close();
    LiveArrays.assertCount(live + inputs.size(), "closing the model");
    assertRefused(() -> model.forward(inputs), "closed");
    assertRefused(() -> view.forward(inputs), "closed");
    assertRefused(() -> model.addAdapter(B, fixture.other()), "closed");
    assertRefused(model::merge, "closed");
    assertRefused(model::mergeAndUnload, "closed");
    LiveArrays.assertCount(live + inputs.size(), "use after closing");
    inputs.close();
  }
}
