package io.peft4j.models;

import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * A family of models. An implementation holds no state; it is one line in the registry and one
 * package beside this one.
 */
public interface ModelFamily {

  /**
   * The family's name in {@code config.json}.
   *
   * @return {@code model_type}, for example {@code bert}
   */
  String modelType();

  /**
   * The classes of transformers that can be read.
   *
   * @return class names; the first is meant by a configuration that names none
   */
  List<String> architectures();

  /**
   * The class without a task's head.
   *
   * @return one of {@link #architectures()}
   */
  String headless();

  /**
   * The class that classifies sequences.
   *
   * @return one of {@link #architectures()}; empty if there is none
   */
  Optional<String> classifier();

  /**
   * The class that classifies tokens.
   *
   * @return one of {@link #architectures()}; empty if there is none
   */
  default Optional<String> tokenClassifier() {
    return Optional.empty();
  }

  /**
   * The class that finds where an answer begins and ends.
   *
   * @return one of {@link #architectures()}; empty if there is none
   */
  default Optional<String> questionAnswerer() {
    return Optional.empty();
  }

  /**
   * What the classes with a head put before the names of the headless one.
   *
   * @return for example {@code bert.}
   */
  String prefix();

  /**
   * The module that holds the class in transformers.
   *
   * @return for example {@code transformers.models.bert.modeling_bert}
   */
  default String library() {
    return "transformers.models." + modelType() + ".modeling_" + modelType();
  }

  /**
   * Reads a configuration.
   *
   * @param config the keys of {@code config.json}
   * @param architecture one of {@link #architectures()}
   * @param present tells whether there is a tensor of some name (a headless model's names, without
   *     prefix), for parts that a checkpoint may leave out; always true where there are no weights
   * @return names, shapes and computation
   * @throws io.peft4j.InvalidConfigException if a value is wrong or asks for what is not
   *     implemented
   */
  Network network(ConfigValues config, String architecture, Predicate<String> present);
}
