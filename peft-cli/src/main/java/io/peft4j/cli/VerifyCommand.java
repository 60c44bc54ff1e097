package io.peft4j.cli;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import io.peft4j.AdapterSet;
import io.peft4j.InvalidConfigException;
import io.peft4j.MalformedFileException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.PretrainedModel;
import io.peft4j.state.TensorInfo;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Computes with adapters what another implementation has computed, and compares. */
@Command(
    name = "verify",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Checks that what Python trained is what Java serves: runs the inputs of a safetensors file"
          + " and compares with what another implementation computed.",
      "",
      "Prints 'max_abs_err=... max_rel_err=...' and exits with 0 if max_abs_err is within the"
          + " tolerance, 1 beyond it, 2 on bad input. Always computes in float32, without dropout."
          + " Padding before the first token of a row attends to nothing, so that what comes out"
          + " there means nothing: it is not compared. NaN never passes."
    })
final class VerifyCommand implements Callable<Integer> {
  @Spec private CommandSpec spec = CommandSpec.create();

  @Option(
      names = "--base",
      required = true,
      paramLabel = "DIR|FILE.gguf|FILE.onnx",
      description = "The base model: a Hugging Face directory, a GGUF file or an exported model.")
  private Path base = Path.of("");

  @Mixin private AdapterOptions adapters = new AdapterOptions();

  @Option(
      names = "--rows",
      paramLabel = "A,B...",
      description = "The adapter of each row of the batch; __base__ for none.")
  private @Nullable String rows;

  @Option(names = "--merge", description = "Merge the active adapters into the weights first.")
  private boolean merge;

  @Option(
      names = "--train",
      paramLabel = "lr=...",
      description =
          "Train the active adapters over FILE's batches (a leading step dimension; labels too) and"
              + " compare the loss of each step before its update: lr, weight_decay (default 0),"
              + " max_grad_norm (default 1; inf for none), beta1, beta2, eps.")
  private @Nullable String train;

  @Option(
      names = "--io",
      required = true,
      paramLabel = "FILE",
      description =
          "A safetensors file with input_ids, and attention_mask and token_type_ids if there are"
              + " any.")
  private Path io = Path.of("");

  @Option(
      names = "--expect",
      required = true,
      paramLabel = "KEY",
      description =
          "The tensor of FILE that is expected. The model's class decides what is computed: logits"
              + " with a head (start_logits, or end_logits if KEY has that in it, for question"
              + " answering), else the last hidden state (or pooler_output, if KEY says so).")
  private String expect = "";

  @Option(
      names = "--tolerance",
      paramLabel = "X",
      defaultValue = "1e-4",
      description = "The largest absolute error that passes (default: ${DEFAULT-VALUE}).")
  private double tolerance;

  /** Made by picocli. */
  VerifyCommand() {}

  @Override
  public Integer call() {
    if (ExportedModel.isOne(base)) {
      return verifyExported();
    }
    BaseFiles.loadable(base);
    AdapterOptions.Request request = adapters.check();
    AdapterSet acting = acting(request);
    checkTogether(acting);
    try (IoFile file = IoFile.open(io)) {
      TensorInfo expected = file.check(expect);
      TrainingCheck training = train == null ? null : TrainingCheck.parse(train, file, expected);
      try (PretrainedModel model = PretrainedModel.load(base, BaseFiles.FLOAT32);
          PeftModel adapted = Peft.open(model)) {
        request.apply(adapted);
        if (merge) {
          adapted.merge(acting, true);
        }
        Comparison comparison =
            training == null
                ? compare(adapted, acting, file, expected)
                : training.run(model, adapted, acting);
        PrintWriter out = spec.commandLine().getOut();
        out.println(comparison);
        return comparison.within(tolerance) ? 0 : 1;
      }
    }
  }

  private int verifyExported() {
    checkTolerance();
    if (merge || rows != null || train != null) {
      throw new InvalidConfigException(
          "an exported model takes neither --merge nor --rows nor --train");
    }
    try (IoFile file = IoFile.open(io);
        ExportedModel exported = ExportedModel.open(base, adapters)) {
      Comparison comparison = ExportedCheck.compare(exported.view(), file, expect, io);
      spec.commandLine().getOut().println(comparison);
      return comparison.within(tolerance) ? 0 : 1;
    }
  }

  private AdapterSet acting(AdapterOptions.Request request) {
    if (rows == null) {
      return request.active();
    }
    if (adapters.hasActive()) {
      throw new InvalidConfigException("--rows and --active exclude each other: give one of them");
    }
    List<String> names = Arrays.stream(rows.split(",", -1)).map(String::strip).toList();
    for (String name : names) {
      if (!name.equals(AdapterSet.BASE)) {
        AdapterOptions.checkKnown("--rows", name, request.names());
      }
    }
    return AdapterSet.rows(names);
  }

  private void checkTogether(AdapterSet acting) {
    checkTolerance();
    if (merge && rows != null) {
      throw new InvalidConfigException("--merge cannot merge adapters that --rows chooses by row");
    }
    if (merge && acting.isNone()) {
      throw new InvalidConfigException("--merge has nothing to merge: give an --adapter");
    }
    if (train != null && (merge || rows != null || acting.isNone())) {
      throw new InvalidConfigException(
          "--train trains adapters that act on every row: it needs an --adapter, and takes neither"
              + " --rows nor --merge");
    }
  }

  private void checkTolerance() {
    if (!(tolerance >= 0) || Double.isInfinite(tolerance)) {
      throw new InvalidConfigException(
          "--tolerance must be a finite number, at least 0; given was " + tolerance);
    }
  }

  private Comparison compare(PeftModel model, AdapterSet acting, IoFile file, TensorInfo expected) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = file.inputs(manager);
      NDList outputs = model.with(acting).forward(inputs);
      NDArray output = outputs.head();
      for (NDArray candidate : outputs) {
        output = expect.contains(String.valueOf(candidate.getName())) ? candidate : output;
      }
      if (!output.getShape().equals(expected.shape())) {
        throw new MalformedFileException(
            io
                + ": "
                + expect
                + " has shape "
                + expected.shape()
                + ", but the model's "
                + output.getName()
                + " has "
                + output.getShape());
      }
      return Comparison.of(
          output.toFloatArray(), file.floats(manager, expect), counted(inputs, output.getShape()));
    }
  }

  /** All values but those at padding before a row's first token. */
  static IntPredicate counted(NDList inputs, Shape shape) {
    Shape tokens = inputs.head().getShape();
    NDArray mask =
        inputs.stream().filter(a -> IoFile.MASK.equals(a.getName())).findFirst().orElse(null);
    if (mask == null || shape.dimension() < 3 || !shape.slice(0, 2).equals(tokens)) {
      return index -> true;
    }
    int length = Math.toIntExact(tokens.get(1));
    int width = Math.toIntExact(shape.size() / tokens.size());
    boolean[] counts = new boolean[Math.toIntExact(tokens.size())];
    NDArray ones = mask.toType(ai.djl.ndarray.types.DataType.FLOAT32, true);
    float[] values = ones.toFloatArray();
    for (int i = 0; i < counts.length; i++) {
      counts[i] = values[i] != 0 || (i % length > 0 && counts[i - 1]);
    }
    return index -> counts[index / width];
  }
}
