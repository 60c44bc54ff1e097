package io.peft4j.cli;

import io.peft4j.state.TensorType;
import java.util.Locale;

/** Element types as people write them on a command line. */
final class TypeNames {
  private TypeNames() {}

  /** For example {@code float32}, {@code bf16}, {@code f16}, {@code i64}. */
  static String of(TensorType type) {
    return type == TensorType.F32 ? "float32" : type.name().toLowerCase(Locale.ROOT);
  }
}
