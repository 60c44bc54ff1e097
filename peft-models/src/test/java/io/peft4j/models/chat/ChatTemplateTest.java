package io.peft4j.models.chat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.jinja.TemplateException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ChatTemplateTest {
  private static final List<ChatMessage> TALK =
      List.of(ChatMessage.system("Be brief."), ChatMessage.user("Hi"));

  @TempDir Path directory;

  private static ChatTemplate template(String source) {
    return ChatTemplate.of(source, Map.of("bos_token", "<s>", "eos_token", "</s>"));
  }

  private void write(String file, String content) throws IOException {
    Path path = directory.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, content);
  }

  @Test
  void rendersRolesTokensAndPrompt() {
    ChatTemplate template =
        template(
            "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}"
                + "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}");

    assertEquals("<s>[system]Be brief.</s>[user]Hi</s>[assistant]", template.render(TALK, true));
    assertEquals("<s>[system]Be brief.</s>[user]Hi</s>", template.render(TALK, false));
  }

  @Test
  void optionsReachTheTemplate() {
    ChatTemplate template =
        template(
            "{{ tools[0].name }} {{ documents[0].title }} {{ enable_thinking }} {{ bos_token }}"
                + " {{ strftime_now('%Y-%m-%d %H:%M') }} {{ none_given is none }}");
    ChatOptions options =
        ChatOptions.builder()
            .tools(List.of(Map.of("name", "clock")))
            .documents(List.of(Map.of("title", "Notes")))
            .variable("enable_thinking", false)
            .variable("bos_token", "<other>")
            .variable("none_given", null)
            .clock(Clock.fixed(Instant.parse("2024-07-09T22:30:00Z"), ZoneOffset.ofHours(2)))
            .build();

    assertEquals("clock Notes False <other> 2024-07-10 00:30 True", template.render(TALK, options));
  }

  @Test
  void nullFieldsAreLeftOutAndReasoningHasBothNames() {
    ChatMessage message =
        ChatMessage.assistant("4").with("tool_calls", null).with("reasoning", "2 + 2");

    assertEquals(
        "False 2 + 2 2 + 2",
        template(
                "{% set m = messages[0] %}{{ 'tool_calls' in m }} {{ m.thinking }}"
                    + " {{ m.reasoning_content }}")
            .render(List.of(message), false));
  }

  @Test
  void messagesAreCopiedAndChecked() {
    List<Object> calls = new java.util.ArrayList<>(List.of(Map.of("name", "f")));
    ChatMessage message = ChatMessage.assistant("").with("tool_calls", calls);
    calls.clear();

    assertEquals(List.of(Map.of("name", "f")), message.fields().get("tool_calls"));
    assertEquals("assistant", message.role());
    assertThrows(UnsupportedOperationException.class, () -> message.fields().put("role", "user"));
    assertThrows(InvalidInputException.class, () -> ChatMessage.of(Map.of("content", "x")));
    assertThrows(InvalidInputException.class, () -> message.with("x", new Object()));
    assertThrows(InvalidInputException.class, () -> message.with("x", Map.of(1, "y")));
    List<Object> loop = new java.util.ArrayList<>();
    loop.add(loop);
    assertThrows(InvalidInputException.class, () -> message.with("x", loop));
  }

  @Test
  void whatCannotBeRenderedIsRefused() {
    ChatTemplate template = template("{{ raise_exception('Only users, please') }}");
    TemplateException refused =
        assertThrows(TemplateException.class, () -> template.render(TALK, false));

    assertEquals("Only users, please", refused.raised().orElseThrow());
    assertEquals(
        "chat template, line 1: the template refuses: Only users, please", refused.getMessage());
    assertThrows(InvalidInputException.class, () -> template.render(List.of(), false));
    assertThrows(TemplateException.class, () -> template("{% if %}"));
    ChatOptions odd = ChatOptions.builder().variable("x", new Object()).build();
    assertThrows(InvalidConfigException.class, () -> template.render(TALK, odd));
    ChatOptions unknown = ChatOptions.builder().template("rag").build();
    assertThrows(InvalidInputException.class, () -> template.render(TALK, unknown));
  }

  @Test
  void readsTheTokenizersConfiguration() throws IOException {
    write(
        "tokenizer_config.json",
        """
        {"chat_template": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ messages[0].role }}",
         "bos_token": {"content": "<b>", "lstrip": false}, "eos_token": "<e>", "pad_token": null}
        """);
    ChatTemplate template = ChatTemplate.load(directory).orElseThrow();

    assertEquals("<b><e>system", template.render(TALK, false));
    assertEquals(Map.of("bos_token", "<b>", "eos_token", "<e>"), template.specialTokens());
    assertTrue(template.source("default").orElseThrow().startsWith("{{ bos_token }}"));
  }

  @Test
  void theOldMapOfTokensCountsWhereTheConfigurationIsOld() throws IOException {
    String template = "\"chat_template\": \"{{ bos_token }}\"";
    write("special_tokens_map.json", "{\"bos_token\": \"<map>\"}");

    for (Map.Entry<String, String> each :
        Map.of(
                "{" + template + "}", "<map>",
                "{" + template + ", \"bos_token\": \"<b>\"}", "<map>",
                "{" + template + ", \"bos_token\": \"<b>\", \"added_tokens_decoder\": {}}", "<b>")
            .entrySet()) {
      write("tokenizer_config.json", each.getKey());
      assertEquals(each.getValue(), ChatTemplate.load(directory).orElseThrow().render(TALK, false));
    }
  }

  @Test
  void toolsChooseTheTemplateForTools() throws IOException {
    write(
        "tokenizer_config.json",
        """
        {"chat_template": [{"name": "default", "template": "plain"},
                           {"name": "tool_use", "template": "tools"},
                           {"name": "rag", "template": "{% broken %}"}]}
        """);
    ChatTemplate template = ChatTemplate.load(directory).orElseThrow();
    ChatOptions tools = ChatOptions.builder().tools(List.of()).build();

    assertEquals(Set.of("default", "tool_use", "rag"), template.names());
    assertEquals("plain", template.render(TALK, false));
    assertEquals("tools", template.render(TALK, tools));
    TemplateException broken =
        assertThrows(
            TemplateException.class,
            () -> template.render(TALK, ChatOptions.builder().template("rag").build()));
    String message = String.valueOf(broken.getMessage());
    assertTrue(message.contains("tokenizer_config.json (rag), line 1"), message);
  }

  @Test
  void filesOfTheirOwnComeFirst() throws IOException {
    write("tokenizer_config.json", "{\"chat_template\": \"old\", \"bos_token\": \"<b>\"}");
    write("chat_template.jinja", "{{ bos_token }}new\n");
    write("additional_chat_templates/tool_use.jinja", "tools");
    ChatTemplate template = ChatTemplate.load(directory).orElseThrow();

    assertEquals("<b>new", template.render(TALK, false));
    assertEquals(Set.of("default", "tool_use"), template.names());
  }

  @Test
  void thereMayBeNone() throws IOException {
    assertTrue(ChatTemplate.load(directory).isEmpty());
    write("tokenizer_config.json", "{\"chat_template\": null, \"bos_token\": \"<b>\"}");
    assertTrue(ChatTemplate.load(directory).isEmpty());
  }

  @ParameterizedTest
  @ValueSource(strings = {"5", "{}", "[5]", "[{\"name\": \"default\"}]", "[{\"template\": \"x\"}]"})
  void otherFormsAreRefused(String value) throws IOException {
    write("tokenizer_config.json", "{\"chat_template\": " + value + "}");
    MalformedFileException refused =
        assertThrows(MalformedFileException.class, () -> ChatTemplate.load(directory));

    assertTrue(String.valueOf(refused.getMessage()).contains("tokenizer_config.json"));
  }

  @Test
  void textsThatAreNoUtf8AreRefused() throws IOException {
    Files.write(directory.resolve("chat_template.jinja"), new byte[] {'a', (byte) 0xff});

    assertThrows(MalformedFileException.class, () -> ChatTemplate.load(directory));
  }

  @Test
  void oneTemplateServesManyThreads() {
    ChatTemplate template = template("{% for m in messages %}{{ m.content }}{% endfor %}");
    List<String> texts =
        java.util.stream.IntStream.range(0, 200)
            .parallel()
            .mapToObj(i -> template.render(List.of(ChatMessage.user("" + i)), true))
            .toList();

    assertEquals(200, texts.stream().distinct().count());
    assertEquals("199", texts.get(199));
  }
}
