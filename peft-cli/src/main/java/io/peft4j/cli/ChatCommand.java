package io.peft4j.cli;

import io.peft4j.PeftException;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Talks to a model in the terminal. */
@Command(
    name = "chat",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Talks to a language model: each line of standard input is what the user says, and the answer"
          + " is printed as it comes.",
      "",
      "/reset forgets the conversation, /exit or the end of the input ends it. What no longer fits"
          + " into the model's context is forgotten, the oldest first."
    })
final class ChatCommand implements Callable<Integer> {
  /** The part of the context that is kept free for an answer, if one may be so long. */
  private static final int ROOM = 4;

  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private ModelOptions model = new ModelOptions();

  @Option(
      names = "--system",
      paramLabel = "TEXT",
      description = "What the model is told about how to behave.")
  private @Nullable String system;

  @Mixin private SamplingOptions sampling = new SamplingOptions();

  /** Made by picocli. */
  ChatCommand() {}

  @Override
  public Integer call() {
    GenerationOptions options = sampling.options().beams(1).build();
    return model.run(loaded -> talk(loaded, options));
  }

  private int talk(LoadedModel loaded, GenerationOptions options) {
    PrintWriter out = spec.commandLine().getOut();
    ChatTexts texts = new ChatTexts(loaded.tokenizer(), model.base());
    Generator generator = Generator.of(loaded.source(), loaded.tokenizer());
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    List<ChatMessage> history = new ArrayList<>();
    while (true) {
      out.print("> ");
      out.flush();
      String line = read(lines);
      if (line == null || line.equals("/exit")) {
        return 0;
      }
      if (line.equals("/reset")) {
        history.clear();
      } else if (!line.isEmpty()) {
        history.add(ChatMessage.user(line));
        try {
          answer(history, texts, generator, options, out);
        } catch (PeftException e) {
          // What was said cannot be answered; the conversation can go on without it.
          history.remove(history.size() - 1);
          spec.commandLine().getErr().println("peft: " + e.getMessage());
          spec.commandLine().getErr().flush();
        }
      }
    }
  }

  private static @Nullable String read(BufferedReader lines) {
    try {
      String line = lines.readLine();
      return line == null ? null : line.strip();
    } catch (IOException e) {
      throw new PeftException("standard input cannot be read: " + e.getMessage(), e);
    }
  }

  private void answer(
      List<ChatMessage> history,
      ChatTexts texts,
      Generator generator,
      GenerationOptions options,
      PrintWriter out) {
    long[] prompt = fitting(history, texts, generator.context());
    GenerationResult result =
        generator
            .generate(
                List.of(prompt),
                options,
                token -> {
                  out.print(token.text());
                  out.flush();
                  return true;
                })
            .get(0);
    out.println();
    history.add(ChatMessage.assistant(result.text()));
  }

  /** The conversation as tokens, after its oldest turns have been forgotten if it is too long. */
  private long[] fitting(List<ChatMessage> history, ChatTexts texts, int context) {
    int room = Math.max(1, Math.min(sampling.maxNewTokens(), context / ROOM));
    List<ChatMessage> kept = new ArrayList<>(history);
    while (true) {
      List<ChatMessage> messages = new ArrayList<>();
      if (system != null) {
        messages.add(ChatMessage.system(system));
      }
      messages.addAll(kept);
      long[] tokens = texts.tokens(messages);
      if (tokens.length + room <= context) {
        // Only now: what is too long by itself makes nothing be forgotten.
        history.subList(0, history.size() - kept.size()).clear();
        return tokens;
      }
      if (kept.size() == 1) {
        throw new InvalidInputException(
            "that is too long: "
                + tokens.length
                + " tokens, and the model's context holds "
                + context
                + " with the answer");
      }
      // A question and its answer go together: templates want them in turn.
      kept.subList(0, 2).clear();
    }
  }
}
