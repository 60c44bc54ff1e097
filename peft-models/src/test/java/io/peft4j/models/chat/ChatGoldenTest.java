package io.peft4j.models.chat;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.time.Clock;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Small templates, a construct each, against what jinja2 makes of them under transformers. */
class ChatGoldenTest {
  @TestFactory
  Stream<DynamicTest> rendersAsTransformersDoes() {
    Path path = Path.of(System.getProperty("peft4j.golden"), "chat", "cases.json");
    JsonNode file = Json.read(path);
    Clock clock = ChatCases.clock(file);
    Map<String, String> tokens = ChatCases.tokens(file);
    ChatOptions.Builder builder = ChatOptions.builder().clock(clock);
    ChatCases.map(file.get("variables")).forEach(builder::variable);
    ChatOptions options = builder.build();
    Map<String, List<JsonNode>> groups = new LinkedHashMap<>();
    for (JsonNode each : file.get("cases")) {
      groups
          .computeIfAbsent(each.get("group").textValue(), g -> new java.util.ArrayList<>())
          .add(each);
    }
    assertTrue(groups.size() > 15, "golden cases are missing");
    return groups.entrySet().stream()
        .map(
            group ->
                DynamicTest.dynamicTest(
                    group.getKey(), () -> check(group.getValue(), tokens, options)));
  }

  private static void check(List<JsonNode> cases, Map<String, String> tokens, ChatOptions options) {
    StringBuilder wrong = new StringBuilder();
    for (JsonNode each : cases) {
      String template = each.get("template").textValue();
      ChatCases.difference(template, tokens, each, options)
          .ifPresent(text -> wrong.append(template).append('\n').append(text).append("\n\n"));
    }
    assertTrue(wrong.isEmpty(), wrong::toString);
  }
}
