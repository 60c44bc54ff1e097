package io.peft4j.cli;

import io.peft4j.models.Tokenizer;
import io.peft4j.models.chat.ChatMessage;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Continues a text. */
@Command(
    name = "generate",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Continues a text with a language model and prints the new text, and nothing else.",
      "",
      "Adapters given act together. Where tokens are not drawn, they are those that transformers"
          + " generates. Options not given are as the base's generation_config.json says."
    })
final class GenerateCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Mixin private ModelOptions model = new ModelOptions();

  @Option(
      names = "--prompt",
      required = true,
      paramLabel = "TEXT",
      description = "The text to continue. The tokenizer's special tokens are put before it.")
  private String prompt = "";

  @Option(
      names = "--chat",
      description =
          "Take TEXT as what a user says, written as the tokenizer's chat template wants it.")
  private boolean chat;

  @Mixin private SamplingOptions sampling = new SamplingOptions();

  @Option(
      names = "--num-beams",
      paramLabel = "N",
      defaultValue = "1",
      description = "Follow N continuations and print the best (default: ${DEFAULT-VALUE}).")
  private int beams;

  @Option(
      names = "--ids",
      description = "Print the numbers of the new tokens on one line, not their text.")
  private boolean ids;

  /** Made by picocli. */
  GenerateCommand() {}

  @Override
  public Integer call() {
    GenerationOptions options = sampling.options().beams(beams).build();
    if (ExportedModel.isOne(model.base())) {
      try (ExportedModel exported = ExportedModel.open(model.base(), model.adapters())) {
        return generate(exported.model().tokenizer(), exported.view().generator(), options);
      }
    }
    return model.run(
        loaded ->
            generate(
                loaded.tokenizer(), Generator.of(loaded.source(), loaded.tokenizer()), options));
  }

  private int generate(Tokenizer tokenizer, Generator generator, GenerationOptions options) {
    long[] tokens =
        chat
            ? new ChatTexts(tokenizer, model.base()).tokens(List.of(ChatMessage.user(prompt)))
            : tokenizer.ids(prompt, true);
    GenerationResult result = generator.generate(List.of(tokens), options).get(0);
    PrintWriter out = spec.commandLine().getOut();
    out.println(
        ids
            ? LongStream.of(result.tokens())
                .mapToObj(Long::toString)
                .collect(Collectors.joining(" "))
            : result.text());
    return 0;
  }
}
