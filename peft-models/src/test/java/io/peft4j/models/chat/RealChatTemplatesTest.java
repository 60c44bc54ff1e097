package io.peft4j.models.chat;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.state.Json;
import java.nio.file.Path;
import java.time.Clock;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** The templates of real models, which are not in this repository, against transformers. */
class RealChatTemplatesTest {
  private static final String PROPERTY = "peft4j.chatTemplates";

  @Test
  void renderAsTransformersDoes() {
    String path = System.getProperty(PROPERTY);
    assumeTrue(
        path != null,
        "no real templates: make a file with 'tools/oracle/chat_templates.py --real FILE SOURCE...'"
            + " (see tools/oracle/README.md) and name it with -D"
            + PROPERTY
            + "=FILE");
    JsonNode file = Json.read(Path.of(path));
    Clock clock = ChatCases.clock(file);
    Map<String, String> tokens = ChatCases.tokens(file);
    StringBuilder wrong = new StringBuilder();
    int count = 0;
    int differing = 0;
    for (JsonNode template : file.get("templates")) {
      for (JsonNode pair : template.get("pairs")) {
        count++;
        Optional<String> difference =
            ChatCases.difference(
                template.get("template").textValue(), tokens, pair, options(pair, clock));
        if (difference.isPresent() && ++differing <= 20) {
          wrong.append(template.get("name").textValue()).append(", ");
          wrong.append(pair.get("name").textValue()).append(": ");
          wrong.append(difference.get()).append("\n\n");
        }
      }
    }
    assertTrue(count > 0, "the file holds no pairs of template and conversation");
    String summary = differing + " of " + count + " pairs of template and conversation differ\n\n";
    assertTrue(wrong.isEmpty(), summary + wrong);
    System.out.println(count + " pairs of template and conversation agree with transformers");
  }

  private static ChatOptions options(JsonNode pair, Clock clock) {
    ChatOptions.Builder options =
        ChatOptions.builder().clock(clock).generationPrompt(pair.get("prompt").booleanValue());
    if (pair.has("tools")) {
      options.tools(ChatCases.maps(pair.get("tools")));
    }
    if (pair.has("documents")) {
      options.documents(ChatCases.maps(pair.get("documents")));
    }
    if (pair.has("variables")) {
      ChatCases.map(pair.get("variables")).forEach(options::variable);
    }
    return options.build();
  }
}
