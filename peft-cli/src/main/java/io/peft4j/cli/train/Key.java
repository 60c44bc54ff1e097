package io.peft4j.cli.train;

import java.util.List;

/**
 * A key of training configurations.
 *
 * @param name the name it has here: transformers' and TRL's where they have one
 * @param others how others spell it
 */
record Key(String name, List<String> others) {

  static Key of(String name, String... others) {
    return new Key(name, List.of(others));
  }
}
