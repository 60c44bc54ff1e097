package io.peft4j.models.chat;

import io.peft4j.models.InvalidInputException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One turn of a conversation: a role, a content, and whatever else a template reads, such as {@code
 * tool_calls}. Immutable.
 *
 * <p>Values are those of JSON: null, strings, booleans, numbers, lists, and maps with strings as
 * keys. The content is mostly a string; templates of models that see images take a list of parts,
 * {@code {"type": "text", "text": "..."}}.
 */
public final class ChatMessage {
  private static final int MAX_DEPTH = 100;

  private final Map<String, @Nullable Object> fields;

  private ChatMessage(Map<String, @Nullable Object> fields) {
    this.fields = fields;
  }

  /**
   * Creates a message.
   *
   * @param role who speaks, for example {@code user}
   * @param content what is said
   * @return the message
   */
  public static ChatMessage of(String role, String content) {
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("role", role);
    fields.put("content", content);
    return of(fields);
  }

  /**
   * Creates a message of any fields, for example one read from JSON. The values are copied.
   *
   * @param fields the fields, in the order in which a template that lists them sees them; {@code
   *     role} must be there and be a string
   * @return the message
   * @throws InvalidInputException if there is no role, or a value is not of JSON
   */
  public static ChatMessage of(Map<String, ?> fields) {
    if (!(fields.get("role") instanceof String)) {
      throw new InvalidInputException(
          "a message needs a field 'role' that is a string; given are " + fields.keySet());
    }
    return new ChatMessage(copy(fields, 0));
  }

  /**
   * Creates a message that says how the model is to behave.
   *
   * @param content the text
   * @return a message of role {@code system}
   */
  public static ChatMessage system(String content) {
    return of("system", content);
  }

  /**
   * Creates a message of the person.
   *
   * @param content the text
   * @return a message of role {@code user}
   */
  public static ChatMessage user(String content) {
    return of("user", content);
  }

  /**
   * Creates a message of the model.
   *
   * @param content the text
   * @return a message of role {@code assistant}
   */
  public static ChatMessage assistant(String content) {
    return of("assistant", content);
  }

  /**
   * Adds a field, or gives one another value.
   *
   * @param name for example {@code tool_calls}, {@code name} or {@code reasoning_content}
   * @param value the value, which is copied
   * @return a new message
   * @throws InvalidInputException if the value is not of JSON
   */
  public ChatMessage with(String name, @Nullable Object value) {
    Map<String, @Nullable Object> more = new LinkedHashMap<>(fields);
    more.put(name, copy(name, value, 0));
    return of(more);
  }

  /**
   * Who speaks.
   *
   * @return the role
   */
  public String role() {
    return String.valueOf(fields.get("role"));
  }

  /**
   * All fields with their values, unmodifiable.
   *
   * @return the fields in their order
   */
  public Map<String, @Nullable Object> fields() {
    return fields;
  }

  private static Map<String, @Nullable Object> copy(Map<?, ?> map, int depth) {
    Map<String, @Nullable Object> copy = new LinkedHashMap<>();
    map.forEach(
        (key, value) -> {
          if (!(key instanceof String name)) {
            throw new InvalidInputException(
                "the keys of a message's maps must be strings, but one is " + key);
          }
          copy.put(name, copy(name, value, depth + 1));
        });
    return Collections.unmodifiableMap(copy);
  }

  private static @Nullable Object copy(String name, @Nullable Object value, int depth) {
    if (depth > MAX_DEPTH) {
      throw new InvalidInputException(
          "the field '" + name + "' of a message nests deeper than " + MAX_DEPTH + " levels");
    }
    if (value == null
        || value instanceof String
        || value instanceof Boolean
        || value instanceof Number) {
      return value;
    }
    if (value instanceof Map<?, ?> map) {
      return copy(map, depth);
    }
    if (value instanceof List<?> list) {
      List<@Nullable Object> items = new ArrayList<>(list.size());
      list.forEach(item -> items.add(copy(name, item, depth + 1)));
      return Collections.unmodifiableList(items);
    }
    throw new InvalidInputException(
        "the field '"
            + name
            + "' of a message holds a "
            + value.getClass().getName()
            + "; it may hold null, strings, booleans, numbers, lists and maps");
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ChatMessage message && fields.equals(message.fields);
  }

  @Override
  public int hashCode() {
    return fields.hashCode();
  }

  @Override
  public String toString() {
    return fields.toString();
  }
}
