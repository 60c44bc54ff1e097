package io.peft4j.models.chat;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.jinja.TemplateException;
import io.peft4j.state.Json;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Reads what transformers rendered, and renders the same. */
final class ChatCases {
  private ChatCases() {}

  static Clock clock(JsonNode file) {
    LocalDateTime now = LocalDateTime.parse(file.get("now").textValue());
    return Clock.fixed(now.toInstant(ZoneOffset.UTC), ZoneOffset.UTC);
  }

  static Map<String, String> tokens(JsonNode file) {
    return Json.mapper().convertValue(file.get("tokens"), new TypeReference<>() {});
  }

  static Map<String, Object> map(JsonNode node) {
    return Json.mapper().convertValue(node, new TypeReference<>() {});
  }

  static List<Map<String, Object>> maps(JsonNode node) {
    return Json.mapper().convertValue(node, new TypeReference<>() {});
  }

  static List<ChatMessage> messages(JsonNode node) {
    return maps(node).stream().map(ChatMessage::of).toList();
  }

  /** Whether an error of jinja2 says which name or attribute is missing; then ours must, too. */
  private static boolean names(String message) {
    return message.endsWith(" is undefined") || message.contains(" has no attribute ");
  }

  /** How the rendering differs from what was expected; empty if it does not. */
  static Optional<String> difference(
      String template, Map<String, String> tokens, JsonNode expected, ChatOptions options) {
    String error = expected.path("error").asText("");
    String message = expected.path("message").asText("");
    String output;
    try {
      List<ChatMessage> messages = messages(expected.get("messages"));
      output = ChatTemplate.of(template, tokens).render(messages, options);
    } catch (TemplateException e) {
      if (error.isEmpty()) {
        return Optional.of("failed: " + e.getMessage());
      }
      boolean said =
          switch (error) {
            case "raised" -> e.raised().equals(Optional.of(message));
            case "undefined" -> !names(message) || e.reason().equals(message);
            default -> e.raised().isEmpty();
          };
      return said ? Optional.empty() : Optional.of("expected " + message + ", but " + e);
    }
    if (!error.isEmpty()) {
      return Optional.of("expected the error '" + error + ": " + message + "', but got " + output);
    }
    String wanted = expected.get("output").textValue();
    return output.equals(wanted)
        ? Optional.empty()
        : Optional.of("expected\n<" + wanted + ">\nbut got\n<" + output + ">");
  }
}
