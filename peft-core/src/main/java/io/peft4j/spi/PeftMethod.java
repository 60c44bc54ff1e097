package io.peft4j.spi;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.PeftConfig;
import io.peft4j.nn.Backbone;
import io.peft4j.state.AdapterState;
import io.peft4j.state.PeftDirectory;
import io.peft4j.state.SavedAdapter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * A fine-tuning method. Found by {@link java.util.ServiceLoader}; stateless; used by any number of
 * threads.
 */
public interface PeftMethod {

  /**
   * The method's name in files and messages, {@code peft_type} for those that Hugging Face PEFT
   * knows.
   *
   * @return for example {@code LORA}
   */
  String name();

  /**
   * The configurations this method attaches.
   *
   * @return their class; {@link PeftMethods} picks the method by it
   */
  Class<? extends PeftConfig> configType();

  /**
   * Reads a configuration from the keys of {@code adapter_config.json}.
   *
   * @param json the file's content
   * @return the checked configuration
   * @throws InvalidConfigException if a value is wrong or asks for what is not implemented
   */
  PeftConfig readConfig(ObjectNode json);

  /**
   * Makes a base ready for adapters, before one is added: a method that wants the base held in
   * another way sees to it here.
   *
   * @param base the base model
   * @param config a configuration of this method
   * @return what is attached, perhaps by another method; the caller closes it
   * @throws InvalidConfigException if the configuration does not fit the base, of which nothing is
   *     changed then
   */
  default Preparation prepare(Backbone base, PeftConfig config) {
    return new Preparation(config, Map.of());
  }

  /**
   * Makes an adapter: new tensors, or the saved ones of the context. Called without gradients,
   * inside a scope that closes whatever it leaves behind; what is given to the builder is kept.
   *
   * @param context the configuration, the base model and perhaps saved tensors
   * @param adapter takes layers and tensors
   * @throws InvalidConfigException if the configuration does not fit the base
   */
  void attach(AttachContext context, AdapterBuilder adapter);

  /**
   * The learning rate that suits this method when a user names none.
   *
   * @return a rate for AdamW
   */
  default double learningRate() {
    return 2e-4;
  }

  /**
   * Tells whether it is the base's own parameters that are trained, so that a whole model comes out
   * of it rather than an adapter.
   *
   * @return false but for full fine-tuning
   */
  default boolean trainsBase() {
    return false;
  }

  /**
   * The names under which the settings of this method may stand in training configurations: the
   * keys of {@link #readConfig} that users set, and other spellings that they know.
   *
   * @return the names
   */
  default Set<String> settings() {
    return Set.of();
  }

  /**
   * Those of {@link #settings} that are about the base, and so hold where a saved adapter is gone
   * on with too.
   *
   * @return the names
   */
  default Set<String> baseSettings() {
    return Set.of();
  }

  /**
   * Makes a configuration from the settings of a training configuration.
   *
   * @param settings values under names that are among {@link #settings}
   * @return the checked configuration
   * @throws InvalidConfigException if a value is wrong, or two names say the same
   */
  default PeftConfig readSettings(ObjectNode settings) {
    return readConfig(settings);
  }

  /**
   * Tells whether a directory holds an adapter of this method.
   *
   * @param directory an existing directory
   * @return true if {@link #read} can read it
   */
  default boolean recognises(Path directory) {
    return PeftDirectory.peftType(directory).filter(name()::equals).isPresent();
  }

  /**
   * What the state keys of this method begin with, before the path of a layer; a key that begins
   * otherwise is no layer's. Where an adapter is a part of a hybrid, this is left away.
   *
   * @return {@value PeftDirectory#PREFIX} for the methods of Hugging Face PEFT, perhaps empty
   */
  default String keyPrefix() {
    return PeftDirectory.PREFIX;
  }

  /**
   * What the state keys of this method lie under where an adapter is a part of a hybrid.
   *
   * @return a word without a dot, by default the method's name in lower case and {@code _weights}
   */
  default String keySpace() {
    return name().toLowerCase(Locale.ROOT) + "_weights";
  }

  /**
   * Opens a saved adapter.
   *
   * @param directory the directory
   * @return configuration and tensors; the caller closes it
   */
  default SavedAdapter read(Path directory) {
    return PeftDirectory.read(directory, this::readConfig);
  }

  /**
   * Saves an adapter into a directory, which is made if it is missing.
   *
   * @param directory the directory
   * @param state configuration and tensors
   */
  default void write(Path directory, AdapterState state) {
    PeftDirectory.write(directory, state);
  }
}
