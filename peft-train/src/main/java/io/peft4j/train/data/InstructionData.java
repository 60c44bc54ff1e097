package io.peft4j.train.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.TextEncoder;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Rows of JSON-lines files as tokens with labels, in one of the {@linkplain RowForm forms} that
 * users of TRL and Alpaca have.
 *
 * <p>Building goes over the files once, so that each row is checked before training begins; kept is
 * where rows are and how long, some twenty bytes each. Rows are read again when they are asked for.
 * Files must not change meanwhile.
 *
 * <ul>
 *   <li>A {@code text}, and a {@code completion} that is text, gets the token that ends a text,
 *       unless it ends so.
 *   <li>Conversations are rendered by the tokenizer's chat template; {@code tools} (a list, or JSON
 *       in a string) and {@code chat_template_kwargs} are passed on.
 *   <li>The completion of a prompt begins with the first token that differs from the prompt's.
 *   <li>Alpaca's rows are written in Stanford Alpaca's two prompts.
 *   <li>Rows of which nothing is trained, or nothing after being cut, are left out and counted.
 *   <li>Keys that are not of the form are ignored.
 * </ul>
 *
 * <p>Immutable, safe for use by several threads, holds nothing to close. The tokenizer must stay
 * open.
 */
public final class InstructionData {
  private final List<Path> files;
  private final RowReader reader;
  private final RowForm form;
  private final int maxLength;
  private final TooLong tooLong;
  private final long paddingId;
  private final String description;
  private final int skipped;
  private final long tokens;
  private final int[] fileOf;
  private final long[] offsets;
  private final int[] bytes;
  private final int[] lines;
  private final int[] lengths;

  private InstructionData(Builder builder) {
    files = List.copyOf(builder.files);
    if (files.isEmpty() || builder.maxLength < 1 || builder.maxSamples < 1) {
      throw new InvalidConfigException(
          "there must be a file, and the maximum of tokens and that of rows must be above 0; were "
              + files.size()
              + " files, "
              + builder.maxLength
              + " and "
              + builder.maxSamples);
    }
    String given = builder.end;
    String end = given == null ? builder.encoder.endToken().orElse(null) : given;
    if (end == null) {
      throw new InvalidConfigException(
          "the tokenizer names no token that ends a text: give it by endToken, or \"\" for none");
    }
    reader = new RowReader(builder.encoder, builder.trained, end);
    paddingId = builder.encoder.paddingId();
    maxLength = builder.maxLength;
    tooLong = builder.tooLong;
    Index index = new Index(builder);
    for (int file = 0; file < files.size() && index.wanted(); file++) {
      index.read(file);
    }
    if (index.rows == 0 || index.form == null) {
      throw new InvalidConfigException(
          files
              + " have no rows to train on"
              + (index.skipped == 0 ? "" : "; " + index.skipped + " were left out"));
    }
    form = index.form;
    fileOf = Arrays.copyOf(index.fileOf, index.rows);
    offsets = Arrays.copyOf(index.offsets, index.rows);
    bytes = Arrays.copyOf(index.bytes, index.rows);
    lines = Arrays.copyOf(index.lines, index.rows);
    lengths = Arrays.copyOf(index.lengths, index.rows);
    skipped = index.skipped;
    tokens = Arrays.stream(lengths).asLongStream().sum();
    description =
        "%s as %s, training %s, %d rows of at most %d tokens (%s), %d in all, checksum %08x"
            .formatted(
                files.stream().map(Path::getFileName).toList(),
                form,
                builder.trained,
                lengths.length,
                maxLength,
                tooLong,
                tokens,
                31 * Arrays.hashCode(lengths) + Arrays.hashCode(offsets));
  }

  /** What is found while the files are read for the first time. */
  private final class Index {
    private final int maxSamples;
    private @Nullable RowForm form;
    private int[] fileOf = new int[16];
    private long[] offsets = new long[16];
    private int[] bytes = new int[16];
    private int[] lines = new int[16];
    private int[] lengths = new int[16];
    private int rows;
    private int skipped;

    Index(Builder builder) {
      maxSamples = builder.maxSamples;
      form = builder.form;
    }

    boolean wanted() {
      return rows < maxSamples;
    }

    void read(int file) {
      Path path = files.get(file);
      JsonLines.read(
          path,
          (offset, size, line, row) -> {
            String origin = JsonLines.name(path, line);
            if (form == null) {
              form = RowReader.form(row, origin);
            }
            Example example = example(reader.read(row, form, origin), origin);
            if (example == null || !example.trains()) {
              skipped++;
            } else {
              add(file, offset, size, line, example.length());
            }
            return wanted();
          });
    }

    private void add(int file, long offset, int size, int line, int length) {
      if (rows == lengths.length) {
        int more = rows + (rows >> 1);
        fileOf = Arrays.copyOf(fileOf, more);
        offsets = Arrays.copyOf(offsets, more);
        bytes = Arrays.copyOf(bytes, more);
        lines = Arrays.copyOf(lines, more);
        lengths = Arrays.copyOf(lengths, more);
      }
      fileOf[rows] = file;
      offsets[rows] = offset;
      bytes[rows] = size;
      lines[rows] = line;
      lengths[rows++] = length;
    }
  }

  /** A row of at most the length wanted; null if it is left out. */
  private @Nullable Example example(Example whole, String origin) {
    int length = whole.length();
    if (length <= maxLength) {
      return whole;
    }
    return switch (tooLong) {
      case KEEP_START -> whole.part(0, maxLength);
      case KEEP_END -> whole.part(length - maxLength, length);
      case SKIP -> null;
      case REFUSE ->
          throw new MalformedFileException(
              origin + ": the row has " + length + " tokens; at most " + maxLength + " are wanted");
    };
  }

  /**
   * Starts without files.
   *
   * @param encoder turns text into tokens, such as the model's tokenizer; it stays the caller's and
   *     must stay open while the data is used
   * @return a builder
   */
  public static Builder builder(TextEncoder encoder) {
    return new Builder(encoder);
  }

  /**
   * How many rows there are.
   *
   * @return rows, those left out not counted
   */
  public int size() {
    return lengths.length;
  }

  /**
   * How many rows were left out, because nothing of them is trained or because they are too long.
   *
   * @return rows
   */
  public int skipped() {
    return skipped;
  }

  /**
   * How many tokens all rows have.
   *
   * @return tokens, after rows were cut
   */
  public long tokens() {
    return tokens;
  }

  /**
   * The form of the rows.
   *
   * @return the form chosen, else that of the first row
   */
  public RowForm form() {
    return form;
  }

  /**
   * Most tokens of a row.
   *
   * @return the length that rows were cut to
   */
  public int maxLength() {
    return maxLength;
  }

  int length(int row) {
    return lengths[row];
  }

  int file(int row) {
    return fileOf[row];
  }

  int line(int row) {
    return lines[row];
  }

  Path path(int file) {
    return files.get(file);
  }

  long paddingId() {
    return paddingId;
  }

  /** What decides which rows there are. */
  String description() {
    return description;
  }

  /** Reads rows; a file stays open while rows that follow each other are in it. */
  Example[] read(int... rows) {
    Example[] examples = new Example[rows.length];
    for (int i = 0; i < rows.length; ) {
      int file = fileOf[rows[i]];
      Path path = files.get(file);
      try (FileChannel channel = FileChannel.open(path)) {
        for (; i < rows.length && fileOf[rows[i]] == file; i++) {
          examples[i] = read(channel, path, rows[i]);
        }
      } catch (IOException e) {
        throw new MalformedFileException(path + ": cannot be read: " + e, e);
      }
    }
    return examples;
  }

  private Example read(FileChannel channel, Path path, int row) throws IOException {
    ObjectNode json = JsonLines.read(channel, path, offsets[row], bytes[row], lines[row]);
    String origin = JsonLines.name(path, lines[row]);
    Example example = example(reader.read(json, form, origin), origin);
    if (example == null || example.length() != lengths[row]) {
      throw JsonLines.changed(path, lines[row]);
    }
    return example;
  }

  /** Collects settings. */
  public static final class Builder {
    private final TextEncoder encoder;
    private List<Path> files = List.of();
    private @Nullable RowForm form;
    private TrainedTokens trained = TrainedTokens.USUAL;
    private int maxLength = 1024;
    private TooLong tooLong = TooLong.KEEP_START;
    private int maxSamples = Integer.MAX_VALUE;
    private @Nullable String end;

    private Builder(TextEncoder encoder) {
      this.encoder = encoder;
    }

    /**
     * Sets the files, whose rows all have one form.
     *
     * @param value files with one JSON object a line
     * @return this
     */
    public Builder files(Path... value) {
      files = List.of(value);
      return this;
    }

    /**
     * Sets the form of the rows; that of the first row if not set.
     *
     * @param value the form, where rows have the keys of several
     * @return this
     */
    public Builder form(RowForm value) {
      form = value;
      return this;
    }

    /**
     * Sets what is trained; {@link TrainedTokens#USUAL} if not set.
     *
     * @param value which tokens
     * @return this
     */
    public Builder trained(TrainedTokens value) {
      trained = value;
      return this;
    }

    /**
     * Sets the most tokens of a row; 1024 if not set, as in TRL.
     *
     * @param value tokens, above 0
     * @return this
     */
    public Builder maxLength(int value) {
      maxLength = value;
      return this;
    }

    /**
     * Sets what is done with rows beyond that; {@link TooLong#KEEP_START} if not set.
     *
     * @param value what is done
     * @return this
     */
    public Builder tooLong(TooLong value) {
      tooLong = value;
      return this;
    }

    /**
     * Sets how many rows are taken, the first ones; all if not set.
     *
     * @param value rows, above 0
     * @return this
     */
    public Builder maxSamples(int value) {
      maxSamples = value;
      return this;
    }

    /**
     * Sets what is put at the end of texts and completions; the tokenizer's own token if not set.
     *
     * @param value the token as it is written; empty for none
     * @return this
     */
    public Builder endToken(String value) {
      end = value;
      return this;
    }

    /**
     * Reads the files once and checks all rows.
     *
     * @return the data
     * @throws MalformedFileException if a file cannot be read, or a row is not of the form; file
     *     and line are named
     * @throws InvalidConfigException if a setting is out of range, there are no rows to train on,
     *     or no token ends texts
     */
    public InstructionData build() {
      return new InstructionData(this);
    }
  }
}
