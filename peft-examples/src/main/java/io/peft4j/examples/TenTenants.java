package io.peft4j.examples;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.NDScope;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.peft4j.AdapterCache;
import io.peft4j.AdapterSet;
import io.peft4j.Peft;
import io.peft4j.PeftModel;
import io.peft4j.TaskType;
import io.peft4j.lora.LoraConfig;
import io.peft4j.models.PretrainedModel;
import io.peft4j.nn.DenseWeight;
import io.peft4j.nn.Weight;
import io.peft4j.target.Targets;
import io.peft4j.torch.Scopes;
import io.peft4j.train.Batch;
import io.peft4j.train.ClassificationBatches;
import io.peft4j.train.Losses;
import io.peft4j.train.Trainer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Ten tenants on one base: each sorts the same articles onto shelves of its own. Their adapters are
 * trained together, rows of all tenants in each batch; saved; and served from a cache with room for
 * six of them, in batches in which each row is some tenant's.
 *
 * <p>The base is a tiny BERT with random weights, made on the spot: nothing is downloaded. Takes
 * one optional argument, the directory for the adapters.
 */
public final class TenTenants {
  private static final int TENANTS = 10;
  private static final int ARTICLES = 12;
  private static final int TEXTS = 4;
  private static final int REQUESTS = 40;
  private static final int ROWS = 8;
  private static final int SHELVES = 2;
  private static final int VOCABULARY = 60;
  private static final int LENGTH = 4;
  private static final double NEEDED = 0.8;

  private TenTenants() {}

  /**
   * Runs the example.
   *
   * @param arguments the output directory; {@code target/tenants} if there is none
   */
  public static void main(String[] arguments) {
    Path output = Path.of(arguments.length == 0 ? "target/tenants" : arguments[0]);
    System.exit(run(output) ? 0 : 1);
  }

  /** Runs it and tells whether everything was as it must be. */
  static boolean run(Path output) {
    List<String> tenants = IntStream.range(0, TENANTS).mapToObj(i -> "tenant-" + i).toList();
    try (PretrainedModel base = base()) {
      try (PeftModel model = Peft.open(base)) {
        LoraConfig config =
            LoraConfig.builder()
                .rank(4)
                .alpha(8)
                .targetModules(Targets.allLinear())
                .taskType(TaskType.SEQ_CLS)
                .build();
        tenants.forEach(tenant -> model.addAdapter(tenant, config));
        model.trainAdapters(tenants.toArray(new String[0]));
        say("training %d adapters together: %s", TENANTS, model.trainableParameterReport());
        Trainer.builder()
            .model(model)
            .loss(Losses.crossEntropy())
            .batches(texts(tenants, 1))
            .learningRate(1e-2)
            .epochs(25)
            .build()
            .run();
        tenants.forEach(tenant -> model.saveAs(tenant, output.resolve(tenant)));
      }
      return serve(base, tenants, output);
    }
  }

  private static boolean serve(PretrainedModel base, List<String> tenants, Path adapters) {
    long each;
    try (PeftModel model = PeftModel.load(base, adapters.resolve(tenants.get(0)))) {
      each = model.adapter(Peft.DEFAULT_ADAPTER).bytes();
    }
    try (PeftModel model = Peft.open(base);
        AdapterCache cache = model.cache(6 * each)) {
      tenants.forEach(tenant -> cache.register(tenant, adapters.resolve(tenant)));
      // The best customer never waits for a load.
      cache.pin(tenants.get(0));
      double accuracy = accuracy(cache, tenants);
      AdapterCache.Statistics statistics = cache.statistics();
      say(
          "%d of %d adapters in memory, %d KiB; %d hits, %d loads, %d evictions",
          statistics.loaded(),
          statistics.registered(),
          statistics.bytes() >> 10,
          statistics.hits(),
          statistics.loads(),
          statistics.evictions());
      say("articles on the right shelf: %.3f", accuracy);
      return accuracy >= NEEDED && statistics.bytes() <= statistics.budgetBytes();
    }
  }

  /** The share of articles that come onto the right shelf, in batches of any tenants' rows. */
  private static double accuracy(AdapterCache cache, List<String> tenants) {
    ClassificationBatches texts = texts(tenants, 2);
    Random random = new Random(3);
    int right = 0;
    for (int request = 0; request < REQUESTS; request++) {
      // The first tenants have most of the requests.
      int[] rows =
          IntStream.range(0, ROWS)
              .map(row -> (int) (TENANTS * Math.pow(random.nextDouble(), 3)))
              .map(tenant -> (tenant * ARTICLES + random.nextInt(ARTICLES)) * TEXTS)
              .toArray();
      try (Batch batch = texts.batch(rows);
          NDScope scope = new NDScope()) {
        scope.suppressNotUsedWarning();
        NDList logits = cache.with(AdapterSet.rows(batch.adapters())).forward(batch.inputs());
        long[] shelves = logits.head().argMax(1).toLongArray();
        for (int i = 0; i < rows.length; i++) {
          right += shelves[i] == texts.label(rows[i]) ? 1 : 0;
        }
      }
    }
    return (double) right / (REQUESTS * ROWS);
  }

  /** Texts of each article for each tenant: the article's token, then words that mean nothing. */
  private static ClassificationBatches texts(List<String> tenants, long seed) {
    Random words = new Random(seed);
    ClassificationBatches.Builder texts = ClassificationBatches.builder().batchSize(40).seed(seed);
    for (int tenant = 0; tenant < TENANTS; tenant++) {
      Random shelves = new Random(100 + tenant);
      for (int article = 0; article < ARTICLES; article++) {
        int shelf = shelves.nextInt(SHELVES);
        for (int text = 0; text < TEXTS; text++) {
          long[] ids = words.longs(LENGTH, 1 + ARTICLES, VOCABULARY).toArray();
          ids[0] = 1 + article;
          texts.add(ids, shelf, tenants.get(tenant));
        }
      }
    }
    return texts.build();
  }

  private static PretrainedModel base() {
    ObjectNode config = JsonNodeFactory.instance.objectNode();
    config.putArray("architectures").add("BertForSequenceClassification");
    config.put("model_type", "bert").put("vocab_size", VOCABULARY);
    config.put("hidden_size", 32).put("num_hidden_layers", 2).put("num_attention_heads", 4);
    config.put("intermediate_size", 64).put("max_position_embeddings", 16);
    config.put("type_vocab_size", 2).put("hidden_act", "gelu").put("layer_norm_eps", 1e-12);
    config.put("hidden_dropout_prob", 0.0).put("attention_probs_dropout_prob", 0.0);
    config.put("pad_token_id", 0);
    ObjectNode labels = config.putObject("id2label");
    for (int shelf = 0; shelf < SHELVES; shelf++) {
      labels.put(Integer.toString(shelf), "shelf " + shelf);
    }
    Map<String, Weight> weights = new LinkedHashMap<>();
    Random random = new Random(1);
    try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
      PretrainedModel.layout(config)
          .parameters()
          .forEach(
              (name, shape) -> {
                float[] values = new float[(int) shape.size()];
                boolean scale = name.contains("LayerNorm") && name.endsWith("weight");
                for (int i = 0; i < values.length; i++) {
                  values[i] = scale ? 1 : (float) (0.3 * random.nextGaussian());
                }
                try (NDArray array = manager.create(values, shape)) {
                  weights.put(name, DenseWeight.owning(Scopes.unmanaged(array.duplicate())));
                }
              });
    }
    return PretrainedModel.of(config, weights);
  }

  private static void say(String format, Object... values) {
    System.out.printf(Locale.ROOT, format + "%n", values);
  }
}
