package io.peft4j.testkit;

import io.peft4j.PeftConfig;
import java.util.function.Supplier;

/** One configuration of a method on one network, and what may be expected of it. Immutable. */
public final class Fixture {
  private final String name;
  private final Supplier<TestNetwork> network;
  private final PeftConfig config;
  private final PeftConfig other;
  private final boolean startsAsBase;
  private final boolean mergeable;
  private final boolean mergeableWhole;
  private final boolean additive;
  private final boolean combinable;
  private final boolean exactGradients;
  private final int trainingSteps;
  private final double tolerance;

  private Fixture(Builder builder) {
    name = builder.name;
    network = builder.network;
    config = builder.config;
    other = builder.other;
    startsAsBase = builder.startsAsBase;
    mergeable = builder.mergeable;
    mergeableWhole = builder.mergeableWhole;
    additive = builder.additive;
    combinable = builder.combinable;
    exactGradients = builder.exactGradients;
    trainingSteps = builder.trainingSteps;
    tolerance = builder.tolerance;
  }

  /**
   * Starts a fixture.
   *
   * @param name what the test report calls it
   * @param network makes equal networks, one for each test
   * @param config the adapter to try
   * @return a builder
   */
  public static Builder builder(String name, Supplier<TestNetwork> network, PeftConfig config) {
    return new Builder(name, network, config);
  }

  /**
   * What the test report calls it.
   *
   * @return the name
   */
  public String name() {
    return name;
  }

  /**
   * Makes a network.
   *
   * @return a new one; the caller closes it
   */
  public TestNetwork network() {
    return network.get();
  }

  /**
   * The adapter to try.
   *
   * @return its configuration
   */
  public PeftConfig config() {
    return config;
  }

  /**
   * A second adapter for tests that need two.
   *
   * @return its configuration
   */
  public PeftConfig other() {
    return other;
  }

  boolean startsAsBase() {
    return startsAsBase;
  }

  boolean mergeable() {
    return mergeable;
  }

  boolean mergeableWhole() {
    return mergeable && mergeableWhole;
  }

  boolean additive() {
    return additive && combinable;
  }

  boolean combinable() {
    return combinable;
  }

  boolean exactGradients() {
    return exactGradients;
  }

  int trainingSteps() {
    return trainingSteps;
  }

  double tolerance() {
    return tolerance;
  }

  @Override
  public String toString() {
    return name;
  }

  /** Collects a {@link Fixture}. */
  public static final class Builder {
    private final String name;
    private final Supplier<TestNetwork> network;
    private final PeftConfig config;
    private PeftConfig other;
    private boolean startsAsBase = true;
    private boolean mergeable = true;
    private boolean mergeableWhole = true;
    private boolean additive = true;
    private boolean combinable = true;
    private boolean exactGradients = true;
    private int trainingSteps = 50;
    private double tolerance = 1e-5;

    private Builder(String name, Supplier<TestNetwork> network, PeftConfig config) {
      this.name = name;
      this.network = network;
      this.config = config;
      other = config;
    }

    /**
     * Sets a second adapter.
     *
     * @param other of any method; the same configuration once more if not set
     * @return this
     */
    public Builder other(PeftConfig other) {
      this.other = other;
      return this;
    }

    /**
     * Says that a new adapter changes the output at once.
     *
     * @return this
     */
    public Builder actsFromTheStart() {
      startsAsBase = false;
      return this;
    }

    /**
     * Says that the adapter cannot be expressed by weights, and that merging is refused.
     *
     * @return this
     */
    public Builder notMergeable() {
      mergeable = false;
      return this;
    }

    /**
     * Says that a part of the adapter cannot be expressed by weights and stays live when the rest
     * is merged.
     *
     * @return this
     */
    public Builder mergeableInPart() {
      mergeableWhole = false;
      return this;
    }

    /**
     * Says that effects on a weight are not sums: two adapters may replace the same values, or a
     * strength does not scale everything.
     *
     * @return this
     */
    public Builder notAdditive() {
      additive = false;
      return this;
    }

    /**
     * Says that the two adapters replace the same values, as copies of one parameter do, and that
     * acting together is refused.
     *
     * @return this
     */
    public Builder notCombinable() {
      combinable = false;
      return this;
    }

    /**
     * Says that the method holds a part of its formula constant in the backward pass, so that its
     * gradients are not those of the loss.
     *
     * @return this
     */
    public Builder constantsInGradients() {
      exactGradients = false;
      return this;
    }

    /**
     * Sets after how many training steps native arrays are counted.
     *
     * @param steps above 0; 50 if not set
     * @return this
     */
    public Builder trainingSteps(int steps) {
      trainingSteps = steps;
      return this;
    }

    /**
     * Sets how far two ways of computing the same may differ.
     *
     * @param tolerance relative to the largest value, or to 1; 1e-5 if not set
     * @return this
     */
    public Builder tolerance(double tolerance) {
      this.tolerance = tolerance;
      return this;
    }

    /**
     * Finishes the fixture.
     *
     * @return the fixture
     */
    public Fixture build() {
      return new Fixture(this);
    }
  }
}
