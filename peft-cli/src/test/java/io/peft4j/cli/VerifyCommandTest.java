package io.peft4j.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What Hugging Face computed against what is computed here, and all the ways to ask wrongly. */
final class VerifyCommandTest {
  private static final Path LLAMA = Cli.model("llama");
  private static final Path MULTI = Cli.multi("llama", "io.safetensors");

  @TempDir private Path temporary;

  private static Cli verify(Path base, Path io, String expect, Object... more) {
    List<Object> args =
        new ArrayList<>(Arrays.asList("verify", "--base", base, "--io", io, "--expect", expect));
    args.addAll(Arrays.asList(more));
    return Cli.run(args.toArray());
  }

  private static double error(Cli run) {
    String number = "(NaN|Infinity|\\d\\.\\d{3}e[-+]\\d{2})";
    assertTrue(
        run.out().matches("max_abs_err=" + number + " max_rel_err=" + number + "\\R"), run.out());
    return Double.parseDouble(run.out().replaceAll("max_abs_err=(\\S+).*\\R", "$1"));
  }

  private static void agrees(Cli run) {
    assertTrue(error(run.succeeded()) <= 1e-5, run.out());
  }

  private static Object[] adapters(String... names) {
    List<Object> args = new ArrayList<>();
    for (String name : names) {
      args.add("--adapter");
      args.add(name + "=" + Cli.multi("llama", name));
    }
    return args.toArray();
  }

  private static Object[] join(Object[] first, Object... second) {
    List<Object> all = new ArrayList<>(Arrays.asList(first));
    all.addAll(Arrays.asList(second));
    return all.toArray();
  }

  @ParameterizedTest
  @CsvSource({
    "llama, io, logits",
    "llama, io_left, logits",
    "llama-f16, io, logits",
    "llama-tied, io, logits",
    "bert, io_types, last_hidden_state",
    "bert, io_types, pooler_output",
    "bert-classifier, io_types, logits",
    "roberta, io, last_hidden_state",
    "roberta-classifier, io, logits",
    "bert-tokens, io_left, logits",
    "roberta-answers, io_left, start_logits",
    "roberta-answers, io_left, end_logits"
  })
  void baseAlone(String model, String io, String key) {
    agrees(verify(Cli.model(model), Cli.model(model).resolve(io + ".safetensors"), key));
  }

  @ParameterizedTest
  @CsvSource({
    "llama, llama-patterns",
    "bert-classifier, bert-classifier-dora",
    "roberta-tokens, roberta-tokens-lora",
    "bert-answers, bert-answers-lora"
  })
  void oneAdapterMergedOrNot(String model, String name) {
    Path io = Cli.adapter(name).resolve("io.safetensors");
    Object[] given = {"--adapter", Cli.adapter(name)};
    agrees(verify(Cli.model(model), io, "base"));
    agrees(verify(Cli.model(model), io, "output", given));
    agrees(verify(Cli.model(model), io, "merged", join(given, "--merge")));
    agrees(verify(Cli.model(model), io, "output", join(given, "--active", "default")));
    if (model.endsWith("answers")) {
      agrees(verify(Cli.model(model), io, "output.end_logits", given));
    }
    Cli wrong = verify(Cli.model(model), io, "base", given);
    assertEquals(1, wrong.code());
    assertTrue(error(wrong) > 1e-2);
    assertEquals("", wrong.err());
  }

  @Test
  void severalAdapters() {
    agrees(verify(LLAMA, MULTI, "active.a+b", adapters("a", "b")));
    agrees(verify(LLAMA, MULTI, "active.a+b", join(adapters("a", "b"), "--merge")));
    agrees(verify(LLAMA, MULTI, "only.a", join(adapters("a", "b"), "--active", "a")));
    Object[] weighted = join(adapters("a", "b", "d"), "--active", "a=0.5,b=-0.25,d=2");
    agrees(verify(LLAMA, MULTI, "weighted", weighted));
    agrees(verify(LLAMA, MULTI, "weighted", join(weighted, "--merge")));
    agrees(
        verify(
            LLAMA,
            MULTI,
            "mixed.0",
            join(adapters("a", "b", "c", "d"), "--rows", "a,__base__,b,d,c")));
    agrees(verify(LLAMA, MULTI, "base", join(adapters("a"), "--rows", base(5))));
  }

  private static String base(int rows) {
    return String.join(",", java.util.Collections.nCopies(rows, "__base__"));
  }

  @Test
  void aCombinationActsAloneAndIsWhatItsPartsAre() {
    // cat is exact, so that 0.5·a − 0.25·b + 2·d as one adapter is what the three are together.
    Object[] given = join(adapters("a", "b", "d"), "--combine", "n=cat:a=0.5,b=-0.25,d=2");
    agrees(verify(LLAMA, MULTI, "weighted", given));
    agrees(verify(LLAMA, MULTI, "weighted", join(given, "--merge")));
    agrees(verify(LLAMA, MULTI, "only.a", join(given, "--active", "a")));
    agrees(
        verify(
            LLAMA,
            MULTI,
            "weighted",
            join(adapters("a", "b", "d"), "--combine", "n=svd:a=0.5,b=-0.25,d=2,svd_rank=20")));
    agrees(
        verify(
            LLAMA,
            MULTI,
            "weighted",
            join(
                adapters("a", "b", "d"),
                "--combine",
                "n=cat:a=1,b=-0.5",
                "--combine",
                "m=cat:n=0.5,d=2")));
    Cli pruned =
        verify(
            LLAMA,
            MULTI,
            "active.a+b",
            join(adapters("a", "b"), "--combine", "n=magnitude_prune:a=1,b=1,density=0.5"));
    assertEquals(1, pruned.code(), pruned.err());
  }

  @ParameterizedTest
  @CsvSource({
    "llama, llama-lora",
    "bert-classifier, bert-classifier-dora",
    "bert-tokens, bert-tokens-lora",
    "roberta-answers, roberta-answers-lora"
  })
  void trainingGivesTheLossesOfPython(String model, String name) {
    Path directory = Cli.GOLDEN.resolve("training").resolve(name);
    Path io = directory.resolve("io.safetensors");
    Object[] given = {"--adapter", directory.resolve("start"), "--train"};
    agrees(
        verify(
            Cli.model(model),
            io,
            "losses",
            join(given, "lr=0.01,weight_decay=0.1,max_grad_norm=1.0")));
    assertEquals(1, verify(Cli.model(model), io, "losses", join(given, "lr=0.05")).code());
  }

  @Test
  void trainingNeedsWhatItNeeds() {
    Path directory = Cli.GOLDEN.resolve("training").resolve("llama-lora");
    Path io = directory.resolve("io.safetensors");
    Object[] given = {"--adapter", directory.resolve("start"), "--train"};
    verify(LLAMA, io, "losses", join(given, "weight_decay=0.1")).refused("--train", "lr=");
    verify(LLAMA, io, "losses", join(given, "lr=1,momentum=2")).refused("momentum");
    verify(LLAMA, io, "losses", join(given, "lr=-1")).refused("rate", "-1");
    verify(LLAMA, io, "grad", join(given, "lr=1")).refused("'grad'", "losses");
    verify(LLAMA, io, "losses", join(given, "lr=1", "--merge")).refused("--train", "--merge");
    verify(LLAMA, MULTI, "base", join(given, "lr=1")).refused("labels");
    Path answers = Cli.GOLDEN.resolve("training").resolve("roberta-answers-lora");
    verify(
            Cli.model("roberta-tokens"),
            answers.resolve("io.safetensors"),
            "losses",
            "--adapter",
            Cli.adapter("roberta-tokens-lora"),
            "--train",
            "lr=1")
        .refused("RobertaForTokenClassification", "labels", "start_positions");
  }

  @Test
  void theToleranceDecides() {
    Path io = Cli.adapter("llama-lora").resolve("io.safetensors");
    Object[] given = {"--adapter", Cli.adapter("llama-lora"), "--active", "default=0.9999"};
    assertEquals(1, verify(LLAMA, io, "output", join(given, "--tolerance", "1e-6")).code());
    assertEquals(0, verify(LLAMA, io, "output", join(given, "--tolerance", "1")).code());
    verify(LLAMA, io, "output", "--tolerance", "-1").refused("--tolerance", "-1");
    verify(LLAMA, io, "output", "--tolerance", "NaN").refused("--tolerance", "NaN");
    verify(LLAMA, io, "output", "--tolerance", "small").refused("--tolerance", "small");
  }

  @Test
  void nanNeverPasses() {
    float[] values = new float[3];
    values[1] = Float.NaN;
    Path io = Cli.io(temporary.resolve("nan"), new long[] {1, 5}, "y", new long[] {1, 3}, values);
    Cli run = verify(Cli.model("bert-classifier"), io, "y", "--tolerance", "1e30");
    assertEquals(1, run.code());
    assertTrue(Double.isNaN(error(run)));
  }

  @Test
  void filesThatDoNotFitAreRefused() throws IOException {
    Path base = Cli.model("bert-classifier");
    Path io =
        Cli.io(temporary.resolve("io"), new long[] {1, 5}, "y", new long[] {1, 4}, 0, 0, 0, 0);
    verify(base, io, "y").refused("y has shape (1, 4)", "logits", "(1, 3)");
    verify(base, io, "z").refused("no tensor 'z'", "input_ids, y");
    verify(base, io, "input_ids").refused("input_ids has shape (1, 2)");
    verify(base, temporary.resolve("none"), "y").refused("none");
    Path high =
        Cli.io(temporary.resolve("hi"), new long[] {1, 500}, "y", new long[] {1, 3}, 0, 0, 0);
    verify(base, high, "y").refused("input_ids must be from 0 to 99", "500");
    byte[] whole = Files.readAllBytes(io);
    Path cut = Files.write(temporary.resolve("cut"), Arrays.copyOf(whole, whole.length - 3));
    verify(base, cut, "y").refused("cut");
    verify(temporary, io, "y").refused("config.json: there is no such file");
    verify(base.resolve("config.json"), io, "y").refused("--base", "is a file");
    verify(base.resolve("none"), io, "y").refused("--base", "does not exist");
    Path pickled = Files.createDirectory(temporary.resolve("pickled"));
    Files.copy(
        Cli.multi("llama", "a").resolve("adapter_config.json"),
        pickled.resolve("adapter_config.json"));
    Files.writeString(pickled.resolve("adapter_model.bin"), "?");
    verify(LLAMA, MULTI, "base", "--adapter", pickled).refused("pickle", "safetensors.torch");
    verify(LLAMA, MULTI, "base", "--adapter", temporary).refused("holds no adapter");
    verify(LLAMA, MULTI, "base", "--adapter", temporary.resolve("gone")).refused("gone");
    verify(LLAMA, MULTI, "base", "--adapter", Cli.adapter("bert-lora")).refused("does not fit");
    Path noIds = Cli.adapter("llama-lora").resolve("adapter_model.safetensors");
    verify(LLAMA, noIds, "y").refused("no tensor 'input_ids'");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--active b|'b'|there are a",
        "--active a,a|twice",
        "--active a,|empty places",
        "--active a=|empty places",
        "--active a=strong|strong",
        "--active a=NaN|NaN",
        "--active a=1e400|1e400",
        "--active __base__|__base__",
        "--rows a,b,a,a,a|'b'",
        "--rows a,a|2 rows|5 rows",
        "--rows a,,a,a,a|''",
        "--rows a,a,a,a,a --active a|exclude each other",
        "--rows a,a,a,a,a --merge|--merge",
        "--adapter a=DIR|two adapters are named 'a'",
        "--adapter __base__=DIR|__base__",
        "--adapter x.y=DIR|x.y",
        "--adapter b=|[NAME=]DIR",
        "--combine n|NEW=TYPE",
        "--combine n=cat:|NEW=TYPE",
        "--combine n=mean:a=1|mean|dare_linear",
        "--combine a=cat:a=1|'a'",
        "--combine n=cat:b=1|'b'",
        "--combine n=cat:a|the weight of a",
        "--combine n=ties:a=1|density",
        "--combine n=ties:a=1,density=2|density",
        "--combine n=svd:a=1,svd_rank=x|svd_rank",
        "--combine n=svd:a=1,svd_rank=0|svd_rank",
        "--combine n=ties:a=1,density=0.5,majority_sign_method=most|most",
        "--combine __base__=cat:a=1|__base__"
      })
  void wrongWordsAreRefused(String line) {
    String[] parts = line.split("\\|");
    Object[] words = parts[0].replace("DIR", Cli.multi("llama", "b").toString()).split(" ");
    verify(LLAMA, MULTI, "only.a", join(adapters("a"), words))
        .refused(Arrays.copyOfRange(parts, 1, parts.length));
  }

  @Test
  void someThingsNeedAnAdapter() {
    verify(LLAMA, MULTI, "base", "--merge").refused("nothing to merge");
    verify(LLAMA, MULTI, "base", "--active", "a").refused("'a'", "--adapter");
    verify(LLAMA, MULTI, "base", "--adapter", Cli.multi("llama", "a"), "--adapter", MULTI)
        .refused("two adapters are named 'default'");
  }

  @Test
  void adapterDirectoriesInsideAreNotRead() throws IOException {
    Path outer = temporary.resolve("outer");
    copy(Cli.multi("llama", "a"), outer);
    copy(Cli.multi("llama", "b"), outer.resolve("b"));
    agrees(verify(LLAMA, MULTI, "only.a", "--adapter", outer));
    verify(LLAMA, MULTI, "only.a", "--adapter", outer, "--active", "b").refused("'b'");
  }

  private static void copy(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    for (String name : new String[] {"adapter_config.json", "adapter_model.safetensors"}) {
      Files.copy(from.resolve(name), to.resolve(name));
    }
  }
}
