package io.peft4j.models.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.peft4j.models.CausalDecoder;
import io.peft4j.models.PretrainedModel;
import io.peft4j.models.Tokenizer;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Tokens that are drawn: how often, and again with the same seed. */
final class SamplingTest {
  private static final long[] PROMPT = {1, 17, 42};
  private static PretrainedModel model;
  private static Tokenizer tokenizer;

  @BeforeAll
  static void load() {
    model = Cases.model("llama");
    tokenizer = Cases.tokenizer();
  }

  @AfterAll
  static void close() {
    model.close();
    tokenizer.close();
  }

  private static Settings settings(GenerationOptions options) {
    return Settings.of(options, ModelDefaults.of(ModelEngine.of(model)), PROMPT.length);
  }

  /**
   * Chi-square of the first token of many texts against the probabilities that transformers has.
   */
  @Test
  void tokensAreDrawnAsOftenAsTheirProbabilitySays() {
    int draws = 4000;
    GenerationOptions options =
        GenerationOptions.builder()
            .sample(true)
            .maxNewTokens(1)
            .topK(0)
            .topP(0.95)
            .temperature(1.2)
            .endTokens()
            .seed(5)
            .build();
    double[] probabilities;
    try (CausalDecoder decoder = CausalDecoder.start(model, List.of(PROMPT), 1, 1)) {
      float[] scores = new float[decoder.vocabulary()];
      decoder.logits(0, scores);
      Candidates candidates = new Candidates(settings(options), scores.length);
      candidates.take(scores);
      probabilities = candidates.probabilities();
    }
    List<GenerationResult> results =
        Generator.of(model, tokenizer).generate(Collections.nCopies(draws, PROMPT), options);
    int[] counts = new int[probabilities.length];
    results.forEach(result -> counts[(int) result.tokens()[0]]++);

    double statistic = 0;
    int kinds = 0;
    double rareExpected = 0;
    int rareCount = 0;
    for (int i = 0; i < counts.length; i++) {
      double expected = draws * probabilities[i];
      if (expected == 0) {
        assertEquals(0, counts[i], "token " + i + " cannot be drawn");
      } else if (expected < 5) {
        rareExpected += expected;
        rareCount += counts[i];
      } else {
        statistic += (counts[i] - expected) * (counts[i] - expected) / expected;
        kinds++;
      }
    }
    if (rareExpected > 0) {
      statistic += (rareCount - rareExpected) * (rareCount - rareExpected) / rareExpected;
    }
    assertTrue(kinds > 20, "the test needs more kinds of tokens, there are " + kinds);
    // Mean and standard deviation of chi-square; four of the latter are far out.
    assertTrue(statistic < kinds + 4 * Math.sqrt(2.0 * kinds), "chi-square " + statistic);
  }

  @Test
  void theSameSeedGivesTheSameTextWhateverElseIsInTheBatch() {
    Generator generator = Generator.of(model, tokenizer);
    GenerationOptions options =
        GenerationOptions.builder().sample(true).maxNewTokens(12).endTokens().seed(7).build();
    GenerationResult alone = generator.generate(List.of(PROMPT), options).get(0);
    List<GenerationResult> three =
        generator.generate(List.of(PROMPT, new long[] {1, 5, 6, 7, 8}, PROMPT), options);
    assertEquals(alone, three.get(0));
    assertNotEquals(three.get(0), three.get(2), "rows must not repeat one another");
    assertNotEquals(
        alone, generator.generate(List.of(PROMPT), options.toBuilder().seed(8).build()).get(0));
  }

  @Test
  void withoutASeedTextsDiffer() {
    Generator generator = Generator.of(model, tokenizer);
    GenerationOptions options =
        GenerationOptions.builder().sample(true).maxNewTokens(12).endTokens().build();
    assertNotEquals(
        generator.generate(List.of(PROMPT), options), generator.generate(List.of(PROMPT), options));
  }

  /** Partial selection against sorting everything, over a large vocabulary of many shapes. */
  @Test
  void whatIsLeftIsWhatSortingLeaves() {
    int vocabulary = 30_000;
    for (int shape = 0; shape < 12; shape++) {
      Random random = new Random(shape);
      float[] scores = new float[vocabulary];
      for (int i = 0; i < vocabulary; i++) {
        scores[i] = (float) (random.nextGaussian() * (0.01 + shape * 0.5));
      }
      double topP = 0.1 + 0.85 * random.nextDouble();
      int topK = shape % 3 == 0 ? 0 : 1 + random.nextInt(2000);
      Settings settings =
          settings(GenerationOptions.builder().sample(true).topK(topK).topP(topP).build());
      Set<Integer> expected = bySorting(scores, topK, topP);
      Candidates candidates = new Candidates(settings, vocabulary);
      candidates.take(scores.clone());
      double[] probabilities = candidates.probabilities();
      Set<Integer> left = new HashSet<>();
      double sum = 0;
      for (int i = 0; i < vocabulary; i++) {
        sum += probabilities[i];
        if (probabilities[i] > 0) {
          left.add(i);
        }
      }
      assertEquals(1, sum, 1e-9);
      assertEquals(expected, left, "shape " + shape);
      assertTrue(left.contains(candidates.draw(new SplittableRandom(shape))));
    }
  }

  private static Set<Integer> bySorting(float[] scores, int topK, double topP) {
    List<Integer> order = new java.util.ArrayList<>();
    for (int i = 0; i < scores.length; i++) {
      order.add(i);
    }
    order.sort((a, b) -> Float.compare(scores[b], scores[a]));
    if (topK > 0) {
      order = order.subList(0, topK);
    }
    double total = order.stream().mapToDouble(i -> Math.exp(scores[i])).sum();
    Set<Integer> kept = new HashSet<>();
    double before = 0;
    for (int i : order) {
      if (before < topP * total) {
        kept.add(i);
      }
      before += Math.exp(scores[i]);
    }
    return kept;
  }
}
