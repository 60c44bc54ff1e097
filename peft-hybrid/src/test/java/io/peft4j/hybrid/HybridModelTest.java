package io.peft4j.hybrid;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.ia3.Ia3Config;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.CausalDecoder;
import io.peft4j.models.LoadOptions;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.TokenDecoder;
import io.peft4j.models.generate.ExpertsEngine;
import io.peft4j.qlora.BitsAndBytesConfig;
import io.peft4j.torch.Precision;
import io.peft4j.vera.VeraConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Hybrids over transformers. */
final class HybridModelTest {
  private static final Path LLAMA =
      Path.of(System.getProperty("peft4j.golden")).resolve("models").resolve("llama");
  private static final HybridConfig CONFIG =
      HybridConfig.builder()
          .part("task", LoraConfig.builder().rank(2).targetModules("q_proj", "v_proj").build())
          .part("gains", Ia3Config.builder().build())
          .part("shared", VeraConfig.builder().rank(4).targetModules("o_proj").build())
          .build();

  @TempDir private Path directory;

  private static PretrainedModel load() {
    return PretrainedModel.load(LLAMA, LoadOptions.builder().precision(Precision.FLOAT32).build());
  }

  private static float[] output(PeftModel model, String... names) {
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      NDList inputs = new NDList(manager.create(new long[][] {{1, 5, 9, 3}, {2, 7, 4, 8}}));
      return model.with(names).forward(inputs).head().toFloatArray();
    }
  }

  @Test
  void eachPartIsSavedAsAnAdapterOfItsOwnWouldBe() throws IOException {
    try (PretrainedModel base = load();
        PeftModel model = Peft.wrap(base, CONFIG);
        NDManager manager = NDManager.newBaseManager("PyTorch")) {
      HybridPartsTest.randomise(model, "default", 1);
      model.save(directory.resolve("hybrid"));
      for (String part : CONFIG.parts().keySet()) {
        model.addAdapter(part, CONFIG.part(part), model.stateDict("default/" + part, manager));
        Path alone = directory.resolve(part);
        model.saveAs(part, alone);
        for (String file : List.of("adapter_config.json", "adapter_model.safetensors")) {
          assertArrayEquals(
              Files.readAllBytes(alone.resolve(file)),
              Files.readAllBytes(directory.resolve("hybrid").resolve(part).resolve(file)),
              part + "/" + file);
        }
      }
    }
  }

  @Test
  void hybridsWorkOverABaseInFourBits() {
    LoadOptions options =
        LoadOptions.builder()
            .quantization(BitsAndBytesConfig.builder().build())
            .precision(Precision.FLOAT32)
            .build();
    try (PretrainedModel base = PretrainedModel.load(LLAMA, options);
        PeftModel model = Peft.wrap(base, CONFIG)) {
      HybridPartsTest.randomise(model, "default", 1);
      float[] before = output(model, "default");
      float[] task = output(model, "default/task");
      model.save(directory);
      model.loadAdapter("again", directory);
      assertArrayEquals(before, output(model, "again"));
      assertArrayEquals(task, output(model, "again/task"));
      assertEquals(
          List.of("default/task", "default/gains", "default/shared"), model.merge().folded());
      float[] merged = output(model, "default");
      for (int i = 0; i < before.length; i++) {
        assertEquals(before[i], merged[i], 1e-4);
      }
      model.unmerge();
      assertArrayEquals(before, output(model, "default"));
    }
  }

  @Test
  void expertsGenerateTogether() {
    try (PretrainedModel base = load();
        PeftModel model = Peft.wrap(base, CONFIG)) {
      HybridPartsTest.randomise(model, "default", 1);
      List<String> experts = List.of("default/task", "default", AdapterSet.BASE);
      float[] first = {0.5f, 0.25f, 0.25f};
      float[] second = {0, 1, 0};
      ExpertsEngine engine =
          ExpertsEngine.of(model, experts, prompt -> prompt.length == 3 ? first : second);
      List<long[]> prompts = List.of(new long[] {1, 5, 9}, new long[] {2, 7});
      try (TokenDecoder decoder = engine.start(prompts, 2, 8)) {
        assertEquals(4, decoder.sequences());
        check(decoder, 1, model, experts, first, 1, 5, 9);
        check(decoder, 2, model, experts, second, 2, 7);
        decoder.step(new long[] {4, 6, 3, 8});
        check(decoder, 0, model, experts, first, 1, 5, 9, 4);
        check(decoder, 1, model, experts, first, 1, 5, 9, 6);
        check(decoder, 3, model, experts, second, 2, 7, 8);
        decoder.reorder(new int[] {1, 1, 3, 2});
        decoder.step(new long[] {11, 12, 13, 14});
        check(decoder, 0, model, experts, first, 1, 5, 9, 6, 11);
        check(decoder, 2, model, experts, second, 2, 7, 8, 13);
        check(decoder, 3, model, experts, second, 2, 7, 3, 14);
      }
    }
  }

  private static void check(
      TokenDecoder decoder,
      int sequence,
      PeftModel model,
      List<String> experts,
      float[] weights,
      long... text) {
    float[] expected = new float[decoder.vocabulary()];
    float[] logits = new float[decoder.vocabulary()];
    for (int i = 0; i < weights.length; i++) {
      AdapterSet set =
          experts.get(i).equals(AdapterSet.BASE)
              ? AdapterSet.none()
              : AdapterSet.of(experts.get(i));
      try (CausalDecoder alone = CausalDecoder.start(model.with(set), List.of(text), 1, 0)) {
        alone.logits(0, logits);
      }
      for (int token = 0; token < logits.length; token++) {
        expected[token] += weights[i] * logits[token];
      }
    }
    decoder.logits(sequence, logits);
    float[] probabilities = new float[logits.length];
    decoder.logProbabilities(sequence, probabilities);
    double sum = 0;
    int best = 0;
    for (int token = 0; token < logits.length; token++) {
      assertEquals(expected[token], logits[token], 1e-4, sequence + " at " + token);
      sum += Math.exp(probabilities[token]);
      best = logits[token] > logits[best] ? token : best;
    }
    assertEquals(1, sum, 1e-4);
    assertEquals(best, decoder.best()[sequence]);
  }
}
