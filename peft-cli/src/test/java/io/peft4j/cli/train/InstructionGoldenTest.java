package io.peft4j.cli.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.peft4j.models.Tokenizer;
import io.peft4j.state.Json;
import io.peft4j.train.Batch;
import io.peft4j.train.data.InstructionBatches;
import io.peft4j.train.data.InstructionData;
import io.peft4j.train.data.Packing;
import io.peft4j.train.data.TooLong;
import io.peft4j.train.data.TrainedTokens;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Rows of each form have the tokens and labels that TRL's SFTTrainer gives them. */
class InstructionGoldenTest {
  private static final Path GOLDEN = Path.of(System.getProperty("peft4j.golden"));
  private static final JsonNode ALL = Json.read(GOLDEN.resolve("instruction/cases.json"));

  @TempDir private Path directory;

  static List<String> cases() {
    List<String> names = new ArrayList<>();
    ALL.get("cases").fieldNames().forEachRemaining(names::add);
    return names;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void tokensAndLabelsAreTrls(String name) throws IOException {
    JsonNode golden = ALL.get("cases").get(name);
    assertEquals(expected(golden), tokens(golden, golden.path("template").textValue()));
  }

  @Test
  void unmarkedTemplatesAreRenderedTurnByTurn() throws IOException {
    // The template that marks nothing writes the same; what is the assistant's shows all the same.
    JsonNode golden = ALL.get("cases").get("talks-assistant");
    assertEquals(expected(golden), tokens(golden, null));
  }

  private static List<String> expected(JsonNode golden) {
    List<String> expected = new ArrayList<>();
    golden
        .get("expected")
        .forEach(row -> expected.add(row.get("input_ids") + " " + row.get("labels")));
    return expected;
  }

  /** With the template given, or the tokenizer's own. */
  private List<String> tokens(JsonNode golden, String template) throws IOException {
    for (String file : List.of("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")) {
      Files.copy(GOLDEN.resolve("generation/tokenizer").resolve(file), directory.resolve(file));
    }
    if (template != null) {
      Files.writeString(directory.resolve("chat_template.jinja"), template);
    }
    List<String> rows = new ArrayList<>();
    golden.get("rows").forEach(row -> rows.add(row.toString()));
    Path file = Files.write(directory.resolve("rows.jsonl"), rows);
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      InstructionData.Builder data = InstructionData.builder(tokenizer).files(file);
      if (golden.get("assistant_only").booleanValue()) {
        data.trained(TrainedTokens.ASSISTANT);
      } else if (golden.get("completion_only").isBoolean()) {
        data.trained(TrainedTokens.ALL);
      }
      if (golden.get("max_length").isInt()) {
        boolean start = golden.get("mode").textValue().equals("keep_start");
        data.maxLength(golden.get("max_length").intValue())
            .tooLong(start ? TooLong.KEEP_START : TooLong.KEEP_END);
      }
      InstructionBatches batches =
          InstructionBatches.builder(data.build()).batchSize(1).shuffled(false).build();
      List<String> actual = new ArrayList<>();
      for (Iterator<Batch> epoch = batches.epoch(0); epoch.hasNext(); ) {
        try (Batch batch = epoch.next()) {
          actual.add(
              shown(batch.inputs().head().toLongArray())
                  + " "
                  + shown(batch.labels().head().toLongArray()));
        }
      }
      return actual;
    }
  }

  private static String shown(long[] values) {
    return Arrays.toString(values).replace(" ", "");
  }

  @Test
  void bestFitMakesTrlsPacks() throws IOException {
    List<String> rows = new ArrayList<>();
    int number = 0;
    for (JsonNode length : ALL.get("lengths")) {
      long[] ids = new long[length.intValue()];
      Arrays.fill(ids, ++number);
      rows.add("{\"input_ids\":" + Arrays.toString(ids) + "}");
    }
    Path file = Files.write(directory.resolve("rows.jsonl"), rows);
    try (Tokenizer tokenizer = Tokenizer.load(GOLDEN.resolve("generation/tokenizer"))) {
      InstructionData data = InstructionData.builder(tokenizer).files(file).maxLength(10).build();
      assertEquals(packs("bfd"), packs(data, Packing.BEST_FIT));
      assertEquals(packs("wrapped"), packs(data, Packing.WRAPPED));
    }
  }

  /** How full packs are, and what is in them. */
  private static TreeSet<String> packs(String strategy) {
    TreeSet<String> packs = new TreeSet<>();
    ALL.get("packs").get(strategy).forEach(pack -> packs.add(pack.toString()));
    return packs;
  }

  private static TreeSet<String> packs(InstructionData data, Packing packing) {
    TreeSet<String> packs = new TreeSet<>();
    InstructionBatches batches =
        InstructionBatches.builder(data).packing(packing).batchSize(1).shuffled(false).build();
    for (Iterator<Batch> epoch = batches.epoch(0); epoch.hasNext(); ) {
      try (Batch batch = epoch.next()) {
        assertTrue(batch.tokens() <= 10);
        packs.add(shown(batch.inputs().head().toLongArray()));
      }
    }
    return packs;
  }
}
