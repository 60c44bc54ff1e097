package io.peft4j.models.gguf;

import io.peft4j.MalformedFileException;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Keys and values of a GGUF file, read with the type that is expected of them. Whole numbers of all
 * widths count as one type, and so do the two kinds of floating-point numbers. Immutable.
 */
public final class GgufMetadata {
  private final String origin;

  /** Long, Double, Boolean, String, long[], double[], String[], Object[] of arrays. */
  private final Map<String, Object> values;

  GgufMetadata(String origin, Map<String, Object> values) {
    this.origin = origin;
    this.values = Collections.unmodifiableMap(values);
  }

  /**
   * The keys that have a value.
   *
   * @return keys in the order of the file; cannot be modified
   */
  public Set<String> keys() {
    return values.keySet();
  }

  /**
   * A text.
   *
   * @param key the key
   * @return its value; empty if there is none
   * @throws MalformedFileException if it is not a text
   */
  public Optional<String> string(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof String text) {
      return Optional.of(text);
    }
    throw wrong(key, "a text");
  }

  /**
   * A whole number.
   *
   * @param key the key
   * @return its value; empty if there is none
   * @throws MalformedFileException if it is not a whole number below 2^63
   */
  public OptionalLong integer(String key) {
    Object value = values.get(key);
    if (value == null) {
      return OptionalLong.empty();
    }
    if (value instanceof Long number) {
      return OptionalLong.of(number);
    }
    throw wrong(key, "a whole number below 2^63");
  }

  /**
   * A number. One that is stored in 32 bits becomes the double of the same shortest decimal form,
   * as a person would have written it ({@code 1e-5}); narrowed again it is what the file has.
   *
   * @param key the key
   * @return its value; empty if there is none
   * @throws MalformedFileException if it is not a finite number
   */
  public OptionalDouble number(String key) {
    Object value = values.get(key);
    if (value == null) {
      return OptionalDouble.empty();
    }
    if (value instanceof Number number && Double.isFinite(number.doubleValue())) {
      return OptionalDouble.of(number.doubleValue());
    }
    throw wrong(key, "a finite number");
  }

  /**
   * A switch.
   *
   * @param key the key
   * @return its value; empty if there is none
   * @throws MalformedFileException if it is neither true nor false
   */
  public Optional<Boolean> flag(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof Boolean flag) {
      return Optional.of(flag);
    }
    throw wrong(key, "true or false");
  }

  /**
   * A list of texts.
   *
   * @param key the key
   * @return its values, cannot be modified; empty if there is no such key
   * @throws MalformedFileException if it is not a list of texts
   */
  public Optional<List<String>> strings(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof String[] texts) {
      return Optional.of(Collections.unmodifiableList(Arrays.asList(texts)));
    }
    throw wrong(key, "a list of texts");
  }

  /**
   * A list of whole numbers.
   *
   * @param key the key
   * @return a copy of its values; empty if there is no such key
   * @throws MalformedFileException if it is not a list of whole numbers
   */
  public Optional<long[]> integers(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof long[] numbers) {
      return Optional.of(numbers.clone());
    }
    throw wrong(key, "a list of whole numbers");
  }

  /**
   * A list of numbers.
   *
   * @param key the key
   * @return a copy of its values, as {@link #number} has them; empty if there is no such key
   * @throws MalformedFileException if it is not a list of floating-point numbers
   */
  public Optional<double[]> numbers(String key) {
    Object value = values.get(key);
    if (value == null) {
      return Optional.empty();
    }
    if (value instanceof double[] numbers) {
      return Optional.of(numbers.clone());
    }
    throw wrong(key, "a list of floating-point numbers");
  }

  /** Whether a value is there and asks for something: not zero, false or empty. */
  boolean asksForSomething(String key) {
    Object value = values.get(key);
    if (value instanceof Number number) {
      return number.doubleValue() != 0;
    }
    if (value instanceof Boolean flag) {
      return flag;
    }
    if (value instanceof long[] numbers) {
      return Arrays.stream(numbers).anyMatch(number -> number != 0);
    }
    if (value instanceof double[] numbers) {
      return Arrays.stream(numbers).anyMatch(number -> number != 0);
    }
    return value != null && !value.equals("");
  }

  /** An error about a key's value. */
  MalformedFileException wrong(String key, String allowed) {
    return new MalformedFileException(
        origin
            + ": the metadata key "
            + Quotes.quote(key)
            + " must be "
            + allowed
            + "; the file has "
            + shown(values.get(key)));
  }

  private static String shown(@Nullable Object value) {
    if (value == null) {
      return "none";
    }
    if (value instanceof String text) {
      return Quotes.quote(text);
    }
    if (value instanceof long[] numbers) {
      return "a list of " + numbers.length + " whole numbers";
    }
    if (value instanceof double[] numbers) {
      return "a list of " + numbers.length + " numbers";
    }
    if (value instanceof Object[] list) {
      return "a list of " + list.length + (value instanceof String[] ? " texts" : " lists");
    }
    return value.toString();
  }
}
