package io.peft4j.testkit;

import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What every fine-tuning method must do, whatever it is. A subclass has a static method {@code
 * fixtures()} that returns a stream of {@link Fixture}s; everything is run for each of them.
 *
 * <pre>{@code
 * final class LoraContractTest extends MethodContract {
 *   static Stream<Fixture> fixtures() {
 *     return Stream.of(Fixture.builder("default", TestNetwork::tiny, config).build());
 *   }
 * }
 * }</pre>
 *
 * <p>The invariants are those of Hugging Face PEFT's own tests, with the same tolerances or tighter
 * ones, and some more: unmerging gives back the base bit for bit, threads with different adapters
 * compute what one thread computes, and after every single test as many native arrays are alive as
 * before it.
 */
@ParameterizedClass(name = "{0}")
@MethodSource("fixtures")
public abstract class MethodContract {
  @Parameter @Nullable Fixture fixture;

  /** For subclasses. */
  protected MethodContract() {}

  private Fixture fixture() {
    Fixture given = fixture;
    if (given == null) {
      throw new IllegalStateException("JUnit has not injected a fixture");
    }
    return given;
  }

  @Nested
  final class Effect extends EffectChecks {
    Effect() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class Merging extends MergeChecks {
    Merging() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class Training extends TrainingChecks {
    Training() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class Rows extends RowChecks {
    Rows() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class State extends StateChecks {
    State() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class Lifecycle extends LifecycleChecks {
    Lifecycle() {
      super(MethodContract.this::fixture);
    }
  }

  @Nested
  final class Sharing extends SharingChecks {
    Sharing() {
      super(MethodContract.this::fixture);
    }
  }
}
