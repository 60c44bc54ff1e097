package io.peft4j.models.chat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.peft4j.MalformedFileException;
import io.peft4j.state.Json;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Finds chat templates and special tokens in the files of a tokenizer. */
final class ChatTemplateFiles {
  private static final long MAX_SIZE = 10_000_000;
  private static final int MAX_TEMPLATES = 100;
  private static final String SUFFIX = ".jinja";

  private ChatTemplateFiles() {}

  static Optional<ChatTemplate> load(Path directory) {
    Path config = directory.resolve("tokenizer_config.json");
    JsonNode settings =
        Files.isRegularFile(config)
            ? Json.readObject(config)
            : JsonNodeFactory.instance.objectNode();
    Map<String, String> tokens = new LinkedHashMap<>();
    addTokens(tokens, settings);
    Path map = directory.resolve("special_tokens_map.json");
    // Where the configuration declares its tokens in full, transformers does not read the old map.
    if (!settings.has("added_tokens_decoder") && Files.isRegularFile(map)) {
      addTokens(tokens, Json.readObject(map));
    }
    Map<String, String> files = files(directory);
    if (!files.isEmpty()) {
      return Optional.of(new ChatTemplate(directory.toString(), files, tokens));
    }
    Map<String, String> sources = sources(settings, config.toString());
    return sources.isEmpty()
        ? Optional.empty()
        : Optional.of(new ChatTemplate(config.toString(), sources, tokens));
  }

  static Optional<ChatTemplate> read(JsonNode settings, String origin) {
    Map<String, String> sources = sources(settings, origin);
    Map<String, String> tokens = new LinkedHashMap<>();
    addTokens(tokens, settings);
    return sources.isEmpty()
        ? Optional.empty()
        : Optional.of(new ChatTemplate(origin, sources, tokens));
  }

  private static void addTokens(Map<String, String> tokens, JsonNode settings) {
    settings
        .properties()
        .forEach(
            entry -> {
              String token = token(entry.getValue());
              if (entry.getKey().endsWith("_token") && token != null) {
                tokens.put(entry.getKey(), token);
              }
            });
  }

  private static @Nullable String token(JsonNode value) {
    return value.isObject() ? value.path("content").textValue() : value.textValue();
  }

  private static Map<String, String> sources(JsonNode settings, String origin) {
    JsonNode given = settings.path("chat_template");
    Map<String, String> sources = new LinkedHashMap<>();
    if (given.isTextual()) {
      sources.put("default", given.textValue());
    } else if (given.isArray()) {
      for (JsonNode each : given) {
        String name = each.path("name").textValue();
        String template = each.path("template").textValue();
        if (name == null || template == null) {
          throw wrong(origin);
        }
        sources.put(name, template);
      }
    } else if (!given.isMissingNode() && !given.isNull()) {
      throw wrong(origin);
    }
    return sources;
  }

  private static MalformedFileException wrong(String origin) {
    return new MalformedFileException(
        origin
            + ": 'chat_template' must be a string, or a list of objects with the strings 'name' and"
            + " 'template'");
  }

  private static Map<String, String> files(Path directory) {
    Map<String, String> sources = new LinkedHashMap<>();
    Path main = directory.resolve("chat_template.jinja");
    if (Files.isRegularFile(main)) {
      sources.put("default", text(main));
    }
    Path more = directory.resolve("additional_chat_templates");
    if (!Files.isDirectory(more)) {
      return sources;
    }
    try (DirectoryStream<Path> files = Files.newDirectoryStream(more, "*" + SUFFIX)) {
      for (Path file : files) {
        if (sources.size() == MAX_TEMPLATES) {
          throw new MalformedFileException(
              more + ": more than " + MAX_TEMPLATES + " chat templates");
        }
        String name = file.getFileName().toString();
        sources.put(name.substring(0, name.length() - SUFFIX.length()), text(file));
      }
    } catch (IOException e) {
      throw new MalformedFileException(more + ": cannot be read: " + e, e);
    }
    return sources;
  }

  private static String text(Path file) {
    try {
      if (Files.size(file) > MAX_SIZE) {
        throw new MalformedFileException(
            file + ": too large for a chat template; at most " + MAX_SIZE + " bytes");
      }
      return Files.readString(file);
    } catch (CharacterCodingException e) {
      throw new MalformedFileException(file + ": is not valid UTF-8", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }
}
