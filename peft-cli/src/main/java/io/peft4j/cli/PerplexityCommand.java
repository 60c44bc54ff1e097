package io.peft4j.cli;

import io.peft4j.MalformedFileException;
import io.peft4j.models.TextScores;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Says how well a model predicts a text. */
@Command(
    name = "perplexity",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Says how well a language model predicts a text, and prints 'perplexity=... nll=..."
          + " tokens=...'.",
      "",
      "The text, without white space around it, is one window and must fit into the model's"
          + " context. nll is the mean of -log p(token | those before it) over all tokens but the"
          + " first, special ones included; tokens is how many those are; perplexity is exp(nll)."
    })
final class PerplexityCommand implements Callable<Integer> {
  /** No context is near as long; what is larger is not the file that was meant. */
  private static final long MOST_BYTES = 1L << 28;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private ModelOptions model = new ModelOptions();

  @Option(
      names = "--text",
      required = true,
      paramLabel = "FILE",
      description = "The text, in UTF-8.")
  private Path file = Path.of("");

  /** Made by picocli. */
  PerplexityCommand() {}

  @Override
  public Integer call() {
    String text = read(file);
    return model.run(loaded -> score(loaded, text));
  }

  private int score(LoadedModel loaded, String text) {
    float[] scores =
        TextScores.logProbabilities(loaded.source(), loaded.tokenizer().ids(text, true));
    double sum = 0;
    for (float score : scores) {
      sum -= score;
    }
    double mean = sum / scores.length;
    spec.commandLine()
        .getOut()
        .printf(
            Locale.ROOT,
            "perplexity=%.6f nll=%.6f tokens=%d%n",
            Math.exp(mean),
            mean,
            scores.length);
    return 0;
  }

  private static String read(Path file) {
    try {
      if (Files.size(file) > MOST_BYTES) {
        throw new MalformedFileException(
            file + ": is larger than any model's context: " + Sizes.format(Files.size(file)));
      }
      return strip(Files.readString(file));
    } catch (CharacterCodingException e) {
      throw new MalformedFileException(file + ": is not valid UTF-8", e);
    } catch (IOException e) {
      throw new MalformedFileException(file + ": cannot be read: " + e, e);
    }
  }

  /** Takes off what Python's strip takes off, which is more than Java's. */
  static String strip(String text) {
    int begin = 0;
    int end = text.length();
    while (begin < end && isSpace(text.charAt(begin))) {
      begin++;
    }
    while (begin < end && isSpace(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(begin, end);
  }

  private static boolean isSpace(char c) {
    return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
  }
}
