package io.peft4j.spi;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.stream.Collectors;

/** The methods on the class path. */
public final class PeftMethods {
  private PeftMethods() {}

  /**
   * All methods that {@link ServiceLoader} finds.
   *
   * @return the methods
   */
  public static List<PeftMethod> all() {
    List<PeftMethod> methods = new ArrayList<>();
    ServiceLoader.load(PeftMethod.class, PeftMethods.class.getClassLoader()).forEach(methods::add);
    ClassLoader context = Thread.currentThread().getContextClassLoader();
    if (context != null && context != PeftMethods.class.getClassLoader()) {
      for (PeftMethod method : ServiceLoader.load(PeftMethod.class, context)) {
        if (methods.stream().noneMatch(known -> known.getClass() == method.getClass())) {
          methods.add(method);
        }
      }
    }
    return methods;
  }

  /**
   * The method that attaches a configuration.
   *
   * @param config the configuration
   * @return the method
   * @throws InvalidConfigException if no module on the class path brings it
   */
  public static PeftMethod of(PeftConfig config) {
    for (PeftMethod method : all()) {
      if (method.configType().isInstance(config)) {
        return method;
      }
    }
    throw new InvalidConfigException(
        "no method on the class path attaches a "
            + config.getClass().getSimpleName()
            + "; found: "
            + names());
  }

  /**
   * The method of a name.
   *
   * @param name what {@link PeftMethod#name} gives
   * @return the method
   * @throws InvalidConfigException if no module on the class path brings it
   */
  public static PeftMethod named(String name) {
    for (PeftMethod method : all()) {
      if (method.name().equals(name)) {
        return method;
      }
    }
    throw new InvalidConfigException(
        "no method on the class path is named '" + name + "'; found: " + names());
  }

  /**
   * The method that saved a directory.
   *
   * @param directory an adapter directory
   * @return the method
   * @throws MalformedFileException if the directory is missing, or not exactly one method
   *     recognises it
   */
  public static PeftMethod of(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new MalformedFileException("there is no adapter directory " + directory);
    }
    List<PeftMethod> found = all().stream().filter(m -> m.recognises(directory)).toList();
    if (found.size() == 1) {
      return found.get(0);
    }
    if (found.size() > 1) {
      throw new MalformedFileException(
          directory
              + " holds adapters of several methods ("
              + found.stream().map(PeftMethod::name).sorted().collect(Collectors.joining(", "))
              + "): give each a directory of its own");
    }
    throw new MalformedFileException(
        directory
            + " holds no adapter that a method on the class path recognises (an"
            + " adapter_config.json whose peft_type is one of "
            + names()
            + ")");
  }

  private static String names() {
    return all().stream().map(PeftMethod::name).sorted().collect(Collectors.joining(", "));
  }
}
