package io.peft4j.models.decoder;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.types.Shape;
import io.peft4j.models.CausalContext;
import io.peft4j.models.InvalidInputException;
import io.peft4j.models.ModelInputs;
import io.peft4j.models.Network;
import io.peft4j.nn.Embedding;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Kernel;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Scopes;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A decoder with or without a head. Positions count from 0 at the first token or padding of a row,
 * as in a plain forward pass of transformers.
 */
final class DecoderNetwork implements Network {
  private static final Kernel ROWS =
      Kernel.of(
          "x: Tensor, i: Tensor -> Tensor",
          "return torch.index_select(torch.flatten(x, 0, 1), 0, i)");

  /** What is done with the hidden states. */
  enum Task {
    /** Nothing: they are the output. */
    HIDDEN_STATES("last_hidden_state", null),
    /** Each gives the logits of the next token. */
    TOKENS("logits", "lm_head"),
    /** That of a row's last token gives the logits of the row's class. */
    CLASSES("logits", "score");

    private final String output;
    private final @Nullable String head;

    Task(String output, @Nullable String head) {
      this.output = output;
      this.head = head;
    }
  }

  private final DecoderConfig config;
  private final Task task;
  private final int labels;
  private final ModelLayout layout;
  private final Embedding tokens;
  private final List<DecoderLayer> layers = new ArrayList<>();
  private final RmsNorm norm;
  private final @Nullable Linear head;

  DecoderNetwork(DecoderConfig config, Task task, int labels) {
    this.config = config;
    this.task = task;
    this.labels = labels;
    String prefix = task == Task.HIDDEN_STATES ? "" : DecoderFamily.PREFIX;
    layout = layout(config, prefix, task, labels);
    tokens = new Embedding(layout, prefix + "embed_tokens");
    LayerConfig layer = config.layer();
    for (int i = 0; i < config.sizes().layers(); i++) {
      int window = config.windows().get(i);
      layers.add(new DecoderLayer(layout, prefix + "layers." + i, i, window, layer));
    }
    norm = new RmsNorm(layout, prefix + "norm", layer.epsilon(), layer.options().shiftedNorms());
    head = task.head == null ? null : new Linear(layout, task.head);
  }

  private static ModelLayout layout(DecoderConfig config, String prefix, Task task, int labels) {
    ModelLayout.Builder layout = ModelLayout.builder(config.modelType());
    String embedding = prefix + "embed_tokens";
    int vocabulary = config.sizes().vocabulary();
    int hidden = config.sizes().hidden();
    layout.embedding(embedding, vocabulary, hidden);
    for (int i = 0; i < config.sizes().layers(); i++) {
      new LayerNames(prefix + "layers." + i, config.layer()).describe(layout);
    }
    layout.norm(prefix + "norm", hidden, false);
    if (task == Task.CLASSES) {
      layout.linear("score", hidden, labels, false);
      layout.head("score");
    } else if (task == Task.TOKENS) {
      if (config.tied()) {
        layout.tiedLinear("lm_head", hidden, vocabulary, embedding + ".weight");
      } else {
        layout.linear("lm_head", hidden, vocabulary, false);
      }
      layout.outputLayer("lm_head");
    }
    return layout.build();
  }

  @Override
  public ModelLayout layout() {
    return layout;
  }

  @Override
  public InputLimits limits() {
    int positions = config.positions();
    return new InputLimits(config.sizes().vocabulary(), 0, positions, positions);
  }

  @Override
  public Optional<CacheShape> cacheShape() {
    LayerConfig layer = config.layer();
    return task == Task.CLASSES
        ? Optional.empty()
        : Optional.of(new CacheShape(layers.size(), layer.keyValueHeads(), layer.headSize()));
  }

  @Override
  public NDList forward(Pass pass, ModelInputs inputs) {
    int[] windows = config.windows().stream().distinct().mapToInt(Integer::intValue).toArray();
    CausalContext context = new CausalContext(inputs, windows);
    Map<Rope, NDList> rotations = new HashMap<>();
    for (Rope rope : config.ropes()) {
      rotations.computeIfAbsent(rope, r -> r.tables(context.positions()));
    }
    NDArray x = Ops.scale(tokens.forward(pass, inputs.ids()), config.embeddingScale());
    boolean fusable = context.fusable(pass);
    for (int i = 0; i < layers.size(); i++) {
      DecoderLayer layer = layers.get(i);
      NDArray input = x;
      NDList turns = Objects.requireNonNull(rotations.get(config.ropes().get(i)));
      FusedLayer.Prepared prepared = fusable ? layer.fused().prepare(pass) : null;
      x =
          prepared == null
              ? Scopes.keepResult(() -> layer.forward(pass, input, turns, context))
              : layer.fused().forward(prepared, input, turns, context);
    }
    context.end();
    NDArray output = output(pass, inputs, inputs.lastOnly() ? x.get(":, -1:") : x);
    output.setName(task.output);
    return new NDList(output);
  }

  private NDArray output(Pass pass, ModelInputs inputs, NDArray last) {
    if (task == Task.CLASSES && head != null) {
      NDArray ends = Ops.engineOwned(inputs.manager().create(ends(inputs)));
      return head.forward(pass, norm.forward(pass, ROWS.call(last, ends)));
    }
    NDArray hidden = norm.forward(pass, last);
    if (head == null) {
      return hidden;
    }
    NDArray logits = head.forward(pass, hidden);
    return config.finalSoftcap() == 0 ? logits : Ops.softcap(logits, config.finalSoftcap());
  }

  /**
   * Where rows end, counted through all rows: at the last token that is not the padding token,
   * whatever the mask says, or at the first if there is none.
   */
  private long[] ends(ModelInputs inputs) {
    Integer padding = config.padding();
    int batch = (int) inputs.batch();
    int length = (int) inputs.length();
    if (padding == null && batch > 1) {
      throw new InvalidInputException(
          "a classifier whose configuration has no pad_token_id takes one row, as it cannot tell"
              + " where rows end; given were "
              + batch);
    }
    long[] ids = inputs.idValues();
    long[] ends = new long[batch];
    for (int row = 0; row < batch; row++) {
      int end = length - 1;
      while (padding != null && end >= 0 && ids[row * length + end] == padding) {
        end--;
      }
      ends[row] = (long) row * length + Math.max(end, 0);
    }
    return ends;
  }

  @Override
  public Shape[] outputShapes(long batch, long length) {
    return new Shape[] {
      switch (task) {
        case HIDDEN_STATES -> new Shape(batch, length, config.sizes().hidden());
        case TOKENS -> new Shape(batch, length, config.sizes().vocabulary());
        case CLASSES -> new Shape(batch, labels);
      }
    };
  }
}
