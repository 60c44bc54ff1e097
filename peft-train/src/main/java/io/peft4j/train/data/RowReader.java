package io.peft4j.train.data;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.PeftException;
import io.peft4j.TextEncoder;
import io.peft4j.TextEncoder.Conversation;
import io.peft4j.state.Json;
import io.peft4j.train.Losses;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Turns a row into tokens and labels, as TRL's {@code SFTTrainer} does. */
final class RowReader {
  // The two prompts that Stanford's Alpaca was trained with.
  private static final String BEGIN =
      "Below is an instruction that describes a task%s. Write a response that appropriately"
          + " completes the request.\n\n### Instruction:\n%s\n\n";
  private static final String WITH_INPUT = ", paired with an input that provides further context";
  private static final String RESPONSE = "### Response:";

  private static final TypeReference<Map<String, @Nullable Object>> MAP = new TypeReference<>() {};

  private final TextEncoder encoder;
  private final TrainedTokens trained;
  private final String end;

  RowReader(TextEncoder encoder, TrainedTokens trained, String end) {
    this.encoder = encoder;
    this.trained = trained;
    this.end = end;
  }

  /** The form of a row that has the keys of one. */
  static RowForm form(ObjectNode row, String origin) {
    if (RowForm.TOKENS.fits(row)) {
      return RowForm.TOKENS;
    }
    List<RowForm> fitting = Arrays.stream(RowForm.values()).filter(f -> f.fits(row)).toList();
    if (fitting.size() == 1) {
      return fitting.get(0);
    }
    List<RowForm> meant = fitting.isEmpty() ? List.of(RowForm.values()) : fitting;
    List<String> given = new ArrayList<>();
    row.fieldNames().forEachRemaining(given::add);
    throw new MalformedFileException(
        origin
            + (fitting.isEmpty()
                ? ": a row must have " + keys(meant) + "; given were " + shortened(given.toString())
                : ": a row has the keys of several forms, " + keys(meant) + "; choose the form"));
  }

  private static String keys(List<RowForm> forms) {
    return forms.stream().map(RowForm::keys).collect(Collectors.joining(", or "));
  }

  private static String shortened(String text) {
    return text.length() > 200 ? text.substring(0, 200) + "..." : text;
  }

  Example read(ObjectNode row, RowForm form, String origin) {
    if (!form.fits(row)) {
      throw new MalformedFileException(
          origin
              + ": rows have the form "
              + form.keys()
              + ", as chosen or as the first row has it, but this one has not");
    }
    try {
      return switch (form) {
        case TOKENS -> tokens(row);
        case TEXT -> whole(text(row, "text"));
        case MESSAGES -> conversation(conversation(row, messages(row, "messages")));
        case PROMPT_COMPLETION ->
            row.get("prompt").isArray() || row.get("completion").isArray()
                ? answered(row, messages(row, "prompt"), messages(row, "completion"))
                : completed(text(row, "prompt"), text(row, "completion"));
        case ALPACA -> completed(alpaca(row), text(row, "output"));
      };
    } catch (PeftException e) {
      throw new MalformedFileException(origin + ": " + e.getMessage(), e);
    }
  }

  private Example whole(String text) {
    refuse(TrainedTokens.COMPLETION, "a prompt and a completion");
    refuse(TrainedTokens.ASSISTANT, "conversations");
    return Example.of(encoder.encode(ended(text)));
  }

  private void refuse(TrainedTokens wanted, String needed) {
    if (trained == wanted) {
      throw new MalformedFileException("to train " + wanted + " a row needs " + needed);
    }
  }

  private String ended(String text) {
    return text.endsWith(end) ? text : text + end;
  }

  private Example completed(String prompt, String completion) {
    refuse(TrainedTokens.ASSISTANT, "conversations");
    long[] ids = encoder.encode(prompt + ended(completion));
    return trained == TrainedTokens.ALL
        ? Example.of(ids)
        : Example.of(ids, after(encoder.encode(prompt), ids));
  }

  /** A completion begins where its tokens differ from the prompt's, which may be before its end. */
  private static boolean[] after(long[] prompt, long[] ids) {
    int differ = Arrays.mismatch(prompt, ids);
    boolean[] mask = new boolean[ids.length];
    Arrays.fill(mask, differ < 0 ? ids.length : differ, ids.length, true);
    return mask;
  }

  private Example answered(
      ObjectNode row,
      List<Map<String, @Nullable Object>> prompt,
      List<Map<String, @Nullable Object>> completion) {
    List<Map<String, @Nullable Object>> all = new ArrayList<>(prompt);
    all.addAll(completion);
    Conversation whole = conversation(row, all);
    if (trained == TrainedTokens.ALL) {
      return Example.of(encoder.encode(whole, false));
    }
    long[] before = encoder.encode(conversation(row, prompt), true);
    if (trained == TrainedTokens.ASSISTANT) {
      TextEncoder.Marked marked = encoder.encodeMarked(whole);
      return Example.of(marked.ids(), marked.assistant(), after(before, marked.ids()));
    }
    long[] ids = encoder.encode(whole, false);
    return Example.of(ids, after(before, ids));
  }

  private Example conversation(Conversation conversation) {
    refuse(TrainedTokens.COMPLETION, "a prompt and a completion");
    if (trained != TrainedTokens.ASSISTANT) {
      return Example.of(encoder.encode(conversation, false));
    }
    TextEncoder.Marked marked = encoder.encodeMarked(conversation);
    return Example.of(marked.ids(), marked.assistant());
  }

  private static Conversation conversation(
      ObjectNode row, List<Map<String, @Nullable Object>> messages) {
    JsonNode tools = row.path("tools");
    if (tools.isTextual()) {
      tools = Json.parse(tools.textValue(), "tools");
    }
    JsonNode variables = row.path("chat_template_kwargs");
    if (variables.isMissingNode() || variables.isNull()) {
      variables = Json.mapper().createObjectNode();
    }
    return new Conversation(
        messages,
        tools.isMissingNode() || tools.isNull() ? null : maps(tools, "tools"),
        map(variables, "chat_template_kwargs"));
  }

  private static List<Map<String, @Nullable Object>> messages(ObjectNode row, String key) {
    List<Map<String, @Nullable Object>> messages = maps(row.get(key), key);
    if (messages.isEmpty()) {
      throw new MalformedFileException(key + " has no messages");
    }
    return messages;
  }

  private static List<Map<String, @Nullable Object>> maps(JsonNode value, String key) {
    if (!value.isArray()) {
      throw new MalformedFileException(
          key + " must be a list of objects, was " + shortened(value.toString()));
    }
    List<Map<String, @Nullable Object>> maps = new ArrayList<>();
    value.forEach(item -> maps.add(map(item, key)));
    return maps;
  }

  private static Map<String, @Nullable Object> map(JsonNode value, String key) {
    if (!value.isObject()) {
      throw new MalformedFileException(
          key + " must be or hold objects, but there is " + shortened(value.toString()));
    }
    wellFormed(value, key);
    return Json.mapper().convertValue(value, MAP);
  }

  private static void wellFormed(JsonNode value, String key) {
    if (value.isTextual()) {
      wellFormed(value.textValue(), key);
    }
    value.forEach(item -> wellFormed(item, key));
  }

  /** Half a surrogate pair is no text; the tokenizer takes none. */
  private static String wellFormed(String text, String key) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))
          && !(Character.isHighSurrogate(text.charAt(i))
              && i + 1 < text.length()
              && Character.isLowSurrogate(text.charAt(++i)))) {
        throw new MalformedFileException(key + " has half a surrogate pair at character " + i);
      }
    }
    return text;
  }

  private static String text(ObjectNode row, String key) {
    JsonNode value = row.path(key);
    if (!value.isTextual()) {
      throw new MalformedFileException(
          key + " must be a string, was " + shortened(value.toString()));
    }
    return wellFormed(value.textValue(), key);
  }

  private static String alpaca(ObjectNode row) {
    String input = row.hasNonNull("input") ? text(row, "input") : "";
    String begin = BEGIN.formatted(input.isEmpty() ? "" : WITH_INPUT, text(row, "instruction"));
    return begin + (input.isEmpty() ? "" : "### Input:\n" + input + "\n\n") + RESPONSE;
  }

  private Example tokens(ObjectNode row) {
    long[] ids = integers(row, "input_ids", row.get("input_ids").size());
    if (Arrays.stream(ids).anyMatch(id -> id < 0)) {
      throw new MalformedFileException("input_ids must not be negative");
    }
    if (row.hasNonNull("labels")) {
      long[] labels = integers(row, "labels", ids.length);
      if (Arrays.stream(labels).anyMatch(label -> label < 0 && label != Losses.IGNORED)) {
        throw new MalformedFileException("labels must be tokens or " + Losses.IGNORED);
      }
      return new Example(ids, labels);
    }
    List<boolean[]> masks = new ArrayList<>();
    if (trained != TrainedTokens.ALL && row.hasNonNull("completion_mask")) {
      masks.add(mask(row, "completion_mask", ids.length));
    } else {
      refuse(TrainedTokens.COMPLETION, "labels or completion_mask");
    }
    if (trained != TrainedTokens.ALL && row.hasNonNull("assistant_masks")) {
      masks.add(mask(row, "assistant_masks", ids.length));
    } else {
      refuse(TrainedTokens.ASSISTANT, "labels or assistant_masks");
    }
    return Example.of(ids, masks.toArray(boolean[][]::new));
  }

  private static boolean[] mask(ObjectNode row, String key, int length) {
    long[] values = integers(row, key, length);
    boolean[] mask = new boolean[length];
    for (int i = 0; i < length; i++) {
      if (values[i] != 0 && values[i] != 1) {
        throw new MalformedFileException(key + " must be 0 or 1, but one is " + values[i]);
      }
      mask[i] = values[i] == 1;
    }
    return mask;
  }

  private static long[] integers(ObjectNode row, String key, int length) {
    JsonNode list = row.get(key);
    if (!list.isArray() || list.size() != length) {
      throw new MalformedFileException(
          key + " must be a list of integers, as many as input_ids has, " + length);
    }
    long[] values = new long[length];
    for (int i = 0; i < length; i++) {
      JsonNode value = list.get(i);
      if (!value.isIntegralNumber() || !value.canConvertToInt()) {
        throw new MalformedFileException(
            key + " must hold integers, but there is " + shortened(value.toString()));
      }
      values[i] = value.longValue();
    }
    return values;
  }
}
