package io.peft4j.onnx;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.AdapterStateException;
import io.peft4j.InvalidConfigException;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import io.peft4j.models.generate.GenerationOptions;
import io.peft4j.models.generate.GenerationResult;
import io.peft4j.models.generate.Generator;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** An exported Llama with adapters, beside the model it was made of. */
final class OrtPeftModelTest {
  private static final List<String> ADAPTERS = List.of("llama-lora", "llama-rslora");
  private static final List<long[]> PROMPTS =
      List.of(new long[] {5, 17, 60, 31}, new long[] {9, 2, 44, 71, 8, 13, 90}, new long[] {3});

  @TempDir private static Path temporary;
  private static Path exported;
  private static PretrainedModel base;
  private static PeftModel model;
  private static Tokenizer tokenizer;
  private static OrtPeftModel served;

  @BeforeAll
  static void export() throws Exception {
    base = Golden.model("llama");
    model = Peft.open(base);
    exported = temporary.resolve("llama");
    OnnxExporter.builder().adapterLayers().build().export(base, exported);
    Path files = Golden.ROOT.resolve("generation").resolve("tokenizer");
    for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
      Files.copy(files.resolve(name), exported.resolve(name));
    }
    tokenizer = Tokenizer.load(exported);
    served = OrtPeftModel.builder(exported).threads(1).cachedAdapters(1).build();
    for (String name : ADAPTERS) {
      model.loadAdapter(name, Golden.ROOT.resolve("adapters").resolve(name));
      Path file = temporary.resolve(name + ".onnx_adapter");
      OnnxAdapter.of(model, name).write(file);
      served.loadAdapter(name, file);
    }
  }

  @AfterAll
  static void close() {
    served.close();
    tokenizer.close();
    model.close();
    base.close();
  }

  private static GenerationOptions options(int beams) {
    return GenerationOptions.builder().maxNewTokens(12).beams(beams).build();
  }

  private static Generator expected(String adapter) {
    return Generator.of(model.with(adapter), tokenizer);
  }

  @Test
  void generatesAsTheModelDoes() {
    for (int beams : new int[] {1, 3}) {
      List<GenerationResult> alone = served.base().generator().generate(PROMPTS, options(beams));
      assertEquals(Generator.of(base, tokenizer).generate(PROMPTS, options(beams)), alone);
      for (String adapter : ADAPTERS) {
        List<GenerationResult> given =
            served.withAdapter(adapter).generator().generate(PROMPTS, options(beams));
        assertEquals(expected(adapter).generate(PROMPTS, options(beams)), given, adapter);
        assertNotEquals(alone, given, adapter);
      }
    }
  }

  @Test
  void longPromptsAreReadInParts() {
    long[] prompt = new long[base.network().limits().longest() - 4];
    for (int i = 0; i < prompt.length; i++) {
      prompt[i] = 3 + i * 7 % 90;
    }
    List<long[]> prompts = List.of(prompt, new long[] {8, 9});
    assertEquals(
        Generator.of(base, tokenizer).generate(prompts, options(1)),
        served.base().generator().generate(prompts, options(1)));
  }

  @Test
  void tellsTokensAsTheyCome() {
    List<Long> told = new ArrayList<>();
    GenerationResult result =
        served
            .withAdapter("llama-lora")
            .generator()
            .generate(
                PROMPTS.subList(0, 1),
                options(1),
                token -> {
                  told.add(token.token());
                  return true;
                })
            .get(0);
    assertArrayEquals(result.tokens(), told.stream().mapToLong(Long::longValue).toArray());
  }

  @Test
  void threadsWithDifferentAdaptersShareASession() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Callable<List<GenerationResult>>> tasks = new ArrayList<>();
      for (int i = 0; i < 12; i++) {
        String adapter = ADAPTERS.get(i % 2);
        tasks.add(() -> served.withAdapter(adapter).generator().generate(PROMPTS, options(1)));
      }
      List<Future<List<GenerationResult>>> results = threads.invokeAll(tasks);
      for (int i = 0; i < results.size(); i++) {
        String adapter = ADAPTERS.get(i % 2);
        assertEquals(expected(adapter).generate(PROMPTS, options(1)), results.get(i).get());
      }
    } finally {
      threads.shutdown();
    }
    assertEquals(1, served.heldAdapters());
  }

  @Test
  void whatHasBegunGoesOnAfterClosing() {
    OrtPeftModel other = OrtPeftModel.open(exported);
    other.loadAdapter("a", temporary.resolve("llama-lora.onnx_adapter"));
    OrtView view = other.withAdapter("a");
    List<Long> told = new ArrayList<>();
    List<GenerationResult> results =
        view.generator()
            .generate(
                PROMPTS,
                options(1),
                token -> {
                  if (told.isEmpty()) {
                    other.deleteAdapter("a");
                    other.close();
                  }
                  return told.add(token.token());
                });
    assertEquals(expected("llama-lora").generate(PROMPTS, options(1)), results);
    AdapterStateException error =
        assertThrows(AdapterStateException.class, () -> other.base().forward(PROMPTS));
    assertTrue(error.getMessage().contains("closed"), error.getMessage());
  }

  @Test
  void adaptersOfOtherModelsAreRefusedWithTheDifferences() {
    Path other = Golden.ROOT.resolve("onnx").resolve("bert-lora.onnx_adapter");
    AdapterStateException error =
        assertThrows(AdapterStateException.class, () -> served.loadAdapter("bert", other));
    assertTrue(error.getMessage().contains("the graph has no input encoder.layer.0"));
    assertThrows(AdapterStateException.class, () -> served.withAdapter("bert"));
    assertThrows(
        AdapterStateException.class,
        () -> served.loadAdapter("llama-lora", temporary.resolve("llama-lora.onnx_adapter")));
  }

  @Test
  void filesOfOtherWritersAct() {
    try (OrtPeftModel other = OrtPeftModel.open(exported)) {
      other.loadAdapter("x", Golden.ROOT.resolve("onnx").resolve("llama-rslora.onnx_adapter"));
      assertEquals(
          expected("llama-rslora").generate(PROMPTS, options(1)),
          other.withAdapter("x").generator().generate(PROMPTS, options(1)));
    }
  }

  @Test
  void badInputIsRefused() {
    OrtView view = served.base();
    assertThrows(InvalidInputException.class, () -> view.forward(List.of()));
    assertThrows(InvalidInputException.class, () -> view.forward(List.of(new long[0])));
    assertThrows(InvalidInputException.class, () -> view.forward(List.of(new long[] {1 << 20})));
    assertThrows(InvalidConfigException.class, () -> view.classify(List.of("a text")));
    assertThrows(InvalidConfigException.class, () -> view.embed(List.of("a text")));
    InvalidInputException full =
        assertThrows(
            InvalidInputException.class,
            () -> view.start(List.of(new long[view.context() + 1]), 1, 0));
    assertTrue(full.getMessage().contains("tokens"), full.getMessage());
  }

  @Test
  void graphsSayWhereTheyComeFrom() {
    assertEquals("LlamaForCausalLM", served.metadata().get("peft4j.architecture"));
    assertEquals(64, served.metadata().get("peft4j.base_sha256").length());
    assertTrue(Double.parseDouble(served.metadata().get("peft4j.largest_error")) < 1e-4);
  }
}
