package io.peft4j.examples.wordnet;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.state.AtomicFiles;
import java.nio.file.Path;
import java.util.List;

/** Writes words as rows of instruction data: JSON lines with a question and its answer. */
public final class InstructionFiles {
  private InstructionFiles() {}

  /**
   * Writes a file of prompts and completions, each a list of messages.
   *
   * @param file the file
   * @param words a row each
   */
  public static void write(Path file, List<DefinedWord> words) {
    StringBuilder lines = new StringBuilder();
    for (DefinedWord word : words) {
      ObjectNode row = JsonNodeFactory.instance.objectNode();
      message(row.putArray("prompt"), "user", word.question());
      message(row.putArray("completion"), "assistant", word.answer());
      lines.append(row).append('\n');
    }
    AtomicFiles.writeString(file, lines.toString());
  }

  private static void message(ArrayNode messages, String role, String content) {
    messages.addObject().put("role", role).put("content", content);
  }
}
