package io.peft4j.cli.train;

import java.util.List;

/** Learning rate schedules by transformers' names. */
final class Schedules {
  static final List<String> NAMES =
      List.of("linear", "cosine", "constant", "constant_with_warmup", "warmup_stable_decay");

  private Schedules() {}
}
