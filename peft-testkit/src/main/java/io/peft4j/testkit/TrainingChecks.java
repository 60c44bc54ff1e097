package io.peft4j.testkit;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.ForwardMode;
import io.peft4j.PeftModel;
import io.peft4j.torch.GradMode;
import java.util.Arrays;
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** What training changes, and what it does not. */
abstract class TrainingChecks extends Checks {
  TrainingChecks(Supplier<Fixture> source) {
    super(source);
  }

  @Test
  void onlyTheTrainedAdapterChangesAndAllOfItDoes() {
    Map<String, float[]> weights = network.weights();
    float[] plain = network.output();
    try (PeftModel model = wrap()) {
      model.addAdapter(B, fixture.other());
      Map<String, float[]> first = parameters(model, A);
      Map<String, float[]> second = state(model, B);
      // In the first step a factor of zero keeps its partner's gradient at zero.
      Sgd.train(model, network, manager, 2, 0.1f);
      Map<String, float[]> trained = parameters(model, A);
      first.forEach(
          (key, values) ->
              assertFalse(Arrays.equals(values, trained.get(key)), key + " has not changed"));
      Numbers.assertSame(second, state(model, B), "the other adapter");
      Numbers.assertSame(weights, network.weights(), "the base's weights");
      Numbers.assertSame(plain, forward(model, new String[0]), "the base's output");
    }
    Numbers.assertSame(plain, network.output(), "the network's own output");
  }

  @Test
  void theLossFalls() {
    try (PeftModel model = wrap()) {
      float before = Sgd.train(model, network, manager, 1, 0.1f);
      float after = Sgd.train(model, network, manager, 30, 0.2f);
      assertTrue(after < 0.9 * before, before + " -> " + after);
    }
  }

  @Test
  void anAdapterThatActsAndIsNotTrainedStays() {
    assumeTrue(fixture.combinable());
    try (PeftModel model = wrapTwo()) {
      model.setActiveAdapters(A, B);
      model.trainAdapters(B);
      Map<String, float[]> first = state(model, A);
      Map<String, float[]> second = state(model, B);
      Sgd.train(model, network, manager, 2, 0.1f);
      Numbers.assertSame(first, state(model, A), "the adapter that is not trained");
      assertFalse(Arrays.deepEquals(values(second), values(state(model, B))));
    }
  }

  private static Object[] values(Map<String, float[]> state) {
    return state.values().toArray();
  }

  @Test
  void anAdapterThatIsTrainedAndDoesNotActStays() {
    try (PeftModel model = wrapTwo()) {
      model.trainAdapters(A, B);
      Map<String, float[]> second = state(model, B);
      try (NDManager step = manager.newSubManager()) {
        try (GradMode on = GradMode.on()) {
          Sgd.backward(network.loss(model.forward(network.inputs(step), ForwardMode.TRAINING)));
        }
      }
      model.adapter(B).parameters().forEach((key, a) -> assertNull(Sgd.gradient(a), key));
      Sgd.update(model.trainableParameters(), 0.1f);
      Numbers.assertSame(second, state(model, B), "the adapter that does not act");
    }
  }

  @Test
  void gradientsAreThoseOfTheLoss() {
    assumeTrue(fixture.exactGradients());
    // A central difference along the gradient itself, whose slope is its squared length.
    try (PeftModel model = wrapRandom()) {
      Map<String, float[]> gradients =
          Sgd.gradients(model, AdapterSet.of(A), network, manager, network::loss);
      double squares = 0;
      for (float[] gradient : gradients.values()) {
        for (float g : gradient) {
          squares += (double) g * g;
        }
      }
      double step = 1e-2 / Math.sqrt(squares);
      double slope = (loss(model, gradients, step) - loss(model, gradients, -step)) / (2 * step);
      assertTrue(
          Math.abs(slope - squares) <= 0.02 * squares, "slope " + slope + ", expected " + squares);
    }
  }

  private double loss(PeftModel model, Map<String, float[]> direction, double step) {
    Sgd.move(model, direction, step);
    try (NDManager scratch = manager.newSubManager()) {
      return network.loss(model.forward(network.inputs(scratch))).getFloat();
    } finally {
      Sgd.move(model, direction, -step);
    }
  }

  @Test
  void trainingModesDifferOnlyInDropout() {
    try (PeftModel model = wrapRandom()) {
      float[] inference = forward(model);
      try (NDManager step = manager.newSubManager()) {
        float[] training =
            model
                .forward(network.inputs(step), ForwardMode.TRAINING_WITHOUT_DROPOUT)
                .head()
                .toFloatArray();
        Numbers.assertClose(inference, training, 1e-6, "the output in training without dropout");
      }
    }
  }
}
