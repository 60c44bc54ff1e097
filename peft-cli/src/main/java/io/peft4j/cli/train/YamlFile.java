package io.peft4j.cli.train;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.peft4j.MalformedFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A YAML file (or JSON, which is YAML too) that holds one mapping. */
final class YamlFile {
  private static final long LARGEST = 1 << 20;
  private static final YAMLMapper MAPPER =
      YAMLMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  private YamlFile() {}

  static ObjectNode read(Path file) {
    try {
      if (!Files.isRegularFile(file)) {
        throw new MalformedFileException("there is no configuration file " + file);
      }
      if (Files.size(file) > LARGEST) {
        throw new MalformedFileException(
            file + " is no configuration: it has " + Files.size(file) + " bytes");
      }
      JsonNode root = MAPPER.readTree(Files.readAllBytes(file));
      if (root instanceof ObjectNode object) {
        return object;
      }
      throw new MalformedFileException(file + " must hold 'key: value' lines");
    } catch (JsonProcessingException e) {
      JsonLocation place = e.getLocation();
      throw new MalformedFileException(
          file
              + (place == null ? "" : ", line " + place.getLineNr())
              + ": "
              + String.valueOf(e.getOriginalMessage()).lines().findFirst().orElse("not YAML"));
    } catch (IOException e) {
      throw new MalformedFileException(file + " cannot be read: " + e.getMessage(), e);
    }
  }
}
