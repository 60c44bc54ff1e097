package io.peft4j.models;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.MalformedFileException;
import io.peft4j.TextEncoder;
import io.peft4j.models.chat.ChatTemplate;
import io.peft4j.models.gguf.GgufFile;
import io.peft4j.models.gguf.GgufTokenizer;
import io.peft4j.models.jinja.JinjaTemplate;
import io.peft4j.state.Json;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Text to tokens and back, by the rules of a Hugging Face {@code tokenizer.json}, special tokens
 * included.
 *
 * <p>Truncation and padding that the file may ask for are not used: rows are cut to the length that
 * a call names and padded to the longest row of their batch. Which side is cut and which is padded
 * is read from {@code tokenizer_config.json} ({@code truncation_side}, {@code padding_side}), else
 * it is the right.
 *
 * <p>Safe for use by several threads. The caller closes it.
 */
public final class Tokenizer implements TextEncoder, AutoCloseable {
  private static final Map<String, String> OPTIONS =
      Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "true");

  private final HuggingFaceTokenizer rules;
  private final long padding;
  private final boolean padLeft;
  private final boolean cutLeft;
  private final Optional<ChatTemplate> chatTemplate;
  private final Optional<String> endToken;

  private Tokenizer(
      HuggingFaceTokenizer rules,
      long padding,
      boolean padLeft,
      boolean cutLeft,
      Optional<ChatTemplate> chatTemplate,
      Optional<String> endToken) {
    this.chatTemplate = chatTemplate;
    this.endToken = endToken;
    this.rules = rules;
    this.padding = padding;
    this.padLeft = padLeft;
    this.cutLeft = cutLeft;
  }

  /**
   * Loads a tokenizer.
   *
   * @param directoryOrFile a Hugging Face directory with {@code tokenizer.json}, or that file, or a
   *     GGUF file (ending in {@code .gguf})
   * @return the tokenizer; the caller closes it
   * @throws MalformedFileException if the file is missing or damaged
   * @throws io.peft4j.InvalidConfigException if a GGUF file's tokenizer is of a kind that is not
   *     implemented
   */
  public static Tokenizer load(Path directoryOrFile) {
    if (GgufFile.isNamedSo(directoryOrFile)) {
      return loadGguf(directoryOrFile);
    }
    boolean whole = Files.isDirectory(directoryOrFile);
    Path file = whole ? directoryOrFile.resolve("tokenizer.json") : directoryOrFile;
    Path config = directoryOrFile.resolve("tokenizer_config.json");
    ObjectNode settings =
        whole && Files.exists(config)
            ? Json.readObject(config)
            : JsonNodeFactory.instance.objectNode();
    if (!Files.isRegularFile(file)) {
      throw new MalformedFileException(
          file
              + ": there is no such file; other forms of a tokenizer (vocab.txt, tokenizer.model) are"
              + " not read: save it as tokenizer.json in Python first");
    }
    try {
      Optional<ChatTemplate> template =
          whole ? ChatTemplate.load(directoryOrFile) : Optional.empty();
      return make(Files.readAllBytes(file), file.toString(), settings, template);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  private static Tokenizer loadGguf(Path file) {
    GgufTokenizer tokenizer;
    try (GgufFile opened = GgufFile.open(file)) {
      tokenizer =
          GgufTokenizer.of(opened)
              .orElseThrow(() -> new MalformedFileException(file + ": has no tokenizer"));
    }
    ObjectNode config = tokenizer.config();
    Optional<ChatTemplate> template = ChatTemplate.of(config, file.toString());
    return make(tokenizer.json(), file.toString(), config, template);
  }

  /**
   * Loads a tokenizer from a stream, such as a resource.
   *
   * @param json the content of a {@code tokenizer.json}; the caller closes the stream
   * @return the tokenizer; the caller closes it
   * @throws MalformedFileException if the stream fails or its content is damaged
   */
  public static Tokenizer load(InputStream json) {
    try {
      return make(
          json.readAllBytes(),
          "the tokenizer's stream",
          JsonNodeFactory.instance.objectNode(),
          Optional.empty());
    } catch (IOException e) {
      throw new MalformedFileException("the tokenizer's stream cannot be read: " + e, e);
    }
  }

  /**
   * Makes a tokenizer of what its files hold.
   *
   * @param json the content of a {@code tokenizer.json}
   * @param origin what errors call it
   * @param settings the content of a {@code tokenizer_config.json}; may be empty
   */
  static Tokenizer make(
      byte[] json, String origin, ObjectNode settings, Optional<ChatTemplate> template) {
    long declared = declaredPadding(json, origin);
    HuggingFaceTokenizer rules;
    try {
      rules = HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json), OPTIONS);
    } catch (IOException | RuntimeException e) {
      throw new MalformedFileException(origin + ": is not a tokenizer: " + e.getMessage(), e);
    }
    String token = content(settings, "pad_token");
    return new Tokenizer(
        rules,
        padding(rules, token, declared),
        isLeft(settings, "padding_side"),
        isLeft(settings, "truncation_side"),
        template,
        Optional.ofNullable(content(settings, "eos_token"))
            .or(() -> template.map(chat -> chat.specialTokens().get("eos_token"))));
  }

  /** A special token, given as a string or as an object. */
  private static @Nullable String content(ObjectNode settings, String key) {
    JsonNode given = settings.path(key);
    return given.isObject() ? given.path("content").textValue() : given.textValue();
  }

  private static boolean isLeft(ObjectNode settings, String key) {
    return "left".equals(settings.path(key).textValue());
  }

  private static long padding(HuggingFaceTokenizer rules, @Nullable String token, long declared) {
    if (token == null && declared >= 0) {
      return declared;
    }
    for (String candidate : token == null ? List.of("[PAD]", "<pad>") : List.of(token)) {
      long[] ids = rules.encode(candidate, false, false).getIds();
      if (ids.length == 1) {
        return ids[0];
      }
    }
    // Nothing looks at padding; any token will do.
    return Math.max(declared, 0);
  }

  /** The value of {@code padding.pad_id}, read without building a tree of the vocabulary; or -1. */
  private static long declaredPadding(byte[] json, String origin) {
    try (JsonParser parser = Json.mapper().getFactory().createParser(json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new MalformedFileException(origin + ": must hold a JSON object");
      }
      long found = -1;
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        boolean wanted = parser.currentName().equals("padding");
        if (parser.nextToken() != JsonToken.START_OBJECT || !wanted) {
          parser.skipChildren();
          continue;
        }
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          boolean id = parser.currentName().equals("pad_id");
          if (parser.nextToken() == JsonToken.VALUE_NUMBER_INT && id) {
            found = parser.getLongValue();
          }
          parser.skipChildren();
        }
      }
      return found;
    } catch (IOException e) {
      throw new MalformedFileException(origin + ": is not valid JSON: " + e.getMessage(), e);
    }
  }

  /**
   * Turns texts into tokens.
   *
   * @param texts the texts
   * @param maxLength most tokens of a text, special ones included; at least 1
   * @return the tokens of each text, not padded
   * @throws InvalidInputException if {@code maxLength} leaves no room for the special tokens
   */
  public List<long[]> ids(List<String> texts, int maxLength) {
    if (texts.isEmpty()) {
      return List.of();
    }
    List<long[]> rows = new ArrayList<>(texts.size());
    for (Encoding encoding : rules.batchEncode(texts, true, false)) {
      rows.add(cut(encoding, maxLength));
    }
    return rows;
  }

  /**
   * Turns a text of any length into tokens.
   *
   * @param text the text
   * @param specialTokens whether the tokens that mark beginning and end are put around it
   * @return the tokens
   */
  public long[] ids(String text, boolean specialTokens) {
    return rules.encode(text, specialTokens, false).getIds();
  }

  /** Tokens of the text are left out until the rest fits; special tokens stay. */
  private long[] cut(Encoding encoding, int maxLength) {
    long[] ids = encoding.getIds();
    if (ids.length <= maxLength) {
      return ids;
    }
    long[] special = encoding.getSpecialTokenMask();
    int text = (int) Arrays.stream(special).filter(flag -> flag == 0).count();
    int room = maxLength - (ids.length - text);
    if (maxLength < 1 || room < 0) {
      throw new InvalidInputException(
          "a length of "
              + maxLength
              + " tokens has no room for the "
              + (ids.length - text)
              + " special tokens");
    }
    long[] kept = new long[maxLength];
    int count = 0;
    int seen = 0;
    for (int i = 0; i < ids.length; i++) {
      boolean keep = special[i] != 0;
      if (!keep) {
        keep = cutLeft ? seen >= text - room : seen < room;
        seen++;
      }
      if (keep) {
        kept[count++] = ids[i];
      }
    }
    return kept;
  }

  /**
   * Turns texts into a model's inputs.
   *
   * @param manager owns the arrays
   * @param texts the texts, at least one
   * @param maxLength most tokens of a text, special ones included; at least 1
   * @return {@code input_ids} and {@code attention_mask}, int64 [texts, tokens of the longest]
   * @throws InvalidInputException if there are no texts, or {@code maxLength} leaves no room for
   *     the special tokens
   */
  public NDList encode(NDManager manager, List<String> texts, int maxLength) {
    return batch(manager, ids(texts, maxLength));
  }

  /**
   * Puts rows of tokens together, padded to the longest.
   *
   * @param manager owns the arrays
   * @param rows tokens of each row, at least one row
   * @return {@code input_ids} and {@code attention_mask}, int64 [rows, tokens of the longest]
   * @throws InvalidInputException if there are no rows
   */
  public NDList batch(NDManager manager, List<long[]> rows) {
    int length = rows.stream().mapToInt(row -> row.length).max().orElse(0);
    if (length == 0) {
      throw new InvalidInputException("a batch needs at least one row with at least one token");
    }
    long[] ids = new long[Math.multiplyExact(rows.size(), length)];
    long[] mask = new long[ids.length];
    Arrays.fill(ids, padding);
    for (int i = 0; i < rows.size(); i++) {
      long[] row = rows.get(i);
      int start = i * length + (padLeft ? length - row.length : 0);
      System.arraycopy(row, 0, ids, start, row.length);
      Arrays.fill(mask, start, start + row.length, 1);
    }
    Shape shape = new Shape(rows.size(), length);
    NDArray idArray = manager.create(ids, shape);
    idArray.setName("input_ids");
    NDArray maskArray = manager.create(mask, shape);
    maskArray.setName("attention_mask");
    return new NDList(idArray, maskArray);
  }

  /**
   * Turns tokens into text.
   *
   * @param ids the tokens
   * @param skipSpecialTokens whether special tokens are left out
   * @return the text
   * @throws InvalidInputException if a token is negative
   */
  public String decode(long[] ids, boolean skipSpecialTokens) {
    for (long id : ids) {
      if (id < 0 || id > Integer.MAX_VALUE) {
        throw new InvalidInputException("there is no token " + id);
      }
    }
    return rules.decode(ids, skipSpecialTokens);
  }

  @Override
  public long[] encode(String text) {
    return ids(text, true);
  }

  @Override
  public long[] encode(Conversation conversation, boolean generationPrompt) {
    return ids(ChatMarks.render(template(), conversation, generationPrompt).text(), false);
  }

  @Override
  public Marked encodeMarked(Conversation conversation) {
    JinjaTemplate.Rendered rendered = ChatMarks.render(template(), conversation, false);
    Encoding encoding = rules.encode(rendered.text(), false, false);
    List<int[]> marks =
        rendered.marks().isEmpty()
            ? ChatMarks.turnByTurn(template(), conversation, rendered.text())
            : rendered.marks();
    return new Marked(encoding.getIds(), ChatMarks.tokens(encoding, rendered.text(), marks));
  }

  private ChatTemplate template() {
    return chatTemplate.orElseThrow(
        () ->
            new InvalidInputException(
                "the tokenizer has no chat template, which conversations need"));
  }

  @Override
  public Optional<String> endToken() {
    return endToken;
  }

  @Override
  public long paddingId() {
    return padding;
  }

  /**
   * How this tokenizer's model wants conversations written.
   *
   * @return the chat templates of the tokenizer's directory or GGUF file; empty if there are none,
   *     or if the tokenizer was loaded from a file or stream alone
   */
  public Optional<ChatTemplate> chatTemplate() {
    return chatTemplate;
  }

  @Override
  public void close() {
    rules.close();
  }
}
