package io.peft4j.models;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.models.LoadOptions.Head;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What a configuration and a wish for a head come to: the family, the class, and the configuration
 * of the model that will be made.
 */
record Blueprint(ModelFamily family, String architecture, ObjectNode config, String origin) {

  /** Finds family and class by {@code architectures}, else by {@code model_type}. */
  static Blueprint of(ObjectNode given, LoadOptions options, String origin) {
    String declared = declared(given);
    String type = given.path("model_type").textValue();
    ModelFamily family = family(declared, type, options.head() != Head.AS_CONFIGURED, origin);
    String architecture =
        switch (options.head()) {
          case AS_CONFIGURED -> declared == null ? family.architectures().get(0) : declared;
          case NONE -> family.headless();
          case CLASSIFIER -> required(family.classifier(), "classification", family, origin);
          case TOKEN_CLASSIFIER ->
              required(family.tokenClassifier(), "token classification", family, origin);
          case QUESTION_ANSWERING ->
              required(family.questionAnswerer(), "question answering", family, origin);
        };
    ObjectNode config = given.deepCopy();
    // How weights are stored is no part of what is computed with them.
    config.remove("quantization_config");
    config.putArray("architectures").add(architecture);
    config.put("model_type", family.modelType());
    if (options.head() == Head.QUESTION_ANSWERING) {
      // Two, which is what is meant where there are none.
      config.remove(List.of("id2label", "label2id", "num_labels"));
    } else if (options.head().isNew()) {
      putLabels(config, options.labels());
    }
    if (options.head() == Head.CLASSIFIER && options.meanPooling()) {
      config.put("classifier_pooling", "mean");
    }
    options.paddingToken().ifPresent(token -> config.put("pad_token_id", token));
    return new Blueprint(family, architecture, config, origin);
  }

  private static String required(
      Optional<String> architecture, String head, ModelFamily family, String origin) {
    return architecture.orElseThrow(
        () ->
            new InvalidConfigException(
                origin
                    + ": there is no "
                    + head
                    + " head for "
                    + family.modelType()
                    + " models yet"));
  }

  private static @Nullable String declared(ObjectNode config) {
    return config.get("architectures") instanceof ArrayNode names && !names.isEmpty()
        ? names.get(0).asText()
        : null;
  }

  private static ModelFamily family(
      @Nullable String declared, @Nullable String type, boolean headChosen, String origin) {
    for (ModelFamily family : Families.ALL) {
      boolean typeFits = family.modelType().equals(type);
      boolean classFits = declared != null && family.architectures().contains(declared);
      boolean free = declared == null || headChosen;
      if ((classFits && (typeFits || type == null)) || (typeFits && free)) {
        return family;
      }
    }
    throw new InvalidConfigException(
        origin
            + ": the architecture "
            + (declared == null ? "is not named and" : declared + " of")
            + " model_type "
            + (type == null ? "is missing too" : "'" + type + "'")
            + (declared == null ? "" : " is not implemented")
            + "; implemented are "
            + Families.ALL.stream()
                .flatMap(family -> family.architectures().stream())
                .collect(Collectors.joining(", "))
            + (!headChosen && Families.ALL.stream().anyMatch(f -> f.modelType().equals(type))
                ? ". Ask for the model without that head (headless), or with a new classifier"
                : ""));
  }

  private static void putLabels(ObjectNode config, List<String> labels) {
    ObjectNode names = config.putObject("id2label");
    ObjectNode numbers = config.putObject("label2id");
    for (int i = 0; i < labels.size(); i++) {
      names.put(String.valueOf(i), labels.get(i));
      numbers.put(labels.get(i), i);
    }
    config.remove("num_labels");
  }

  /**
   * Makes the network.
   *
   * @param tensors names of the tensors there are, as in the checkpoint; null where all are
   */
  Network network(@Nullable Set<String> tensors) {
    Predicate<String> present =
        tensors == null
            ? name -> true
            : name -> Stream.of(name, family.prefix() + name).anyMatch(tensors::contains);
    return family.network(new ConfigValues(config, origin), architecture, present);
  }

  /** The same with weights that are no longer tied. */
  Blueprint untied() {
    ObjectNode changed = config.deepCopy();
    changed.put("tie_word_embeddings", false);
    return new Blueprint(family, architecture, changed, origin);
  }

  /** The standard deviation of new weights. */
  double initializerRange() {
    return new ConfigValues(config, origin).fraction("initializer_range", 0.02);
  }

  /** The key under which transformers keeps the type of the tensors: an old name or the new one. */
  String dtypeKey() {
    return config.has("torch_dtype") && !config.has("dtype") ? "torch_dtype" : "dtype";
  }
}
