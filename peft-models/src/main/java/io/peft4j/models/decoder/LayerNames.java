package io.peft4j.models.decoder;

import io.peft4j.target.JoinKind;
import io.peft4j.target.ModelLayout;
import java.util.Arrays;
import java.util.List;

/** The paths and shapes of a layer's parts, as transformers has them. */
record LayerNames(String path, LayerConfig config) {

  List<String> inputs() {
    return config.options().joined()
        ? List.of(attention("qkv_proj"))
        : List.of(attention("q_proj"), attention("k_proj"), attention("v_proj"));
  }

  int[] inputSizes() {
    return new int[] {config.querySize(), config.keySize(), config.keySize()};
  }

  String attentionOutput() {
    return attention("o_proj");
  }

  List<String> inner() {
    return config.options().joined()
        ? List.of(mlp("gate_up_proj"))
        : List.of(mlp("gate_proj"), mlp("up_proj"));
  }

  int[] innerSizes() {
    return new int[] {config.intermediate(), config.intermediate()};
  }

  String down() {
    return mlp("down_proj");
  }

  String queryNorm() {
    return attention("q_norm");
  }

  String keyNorm() {
    return attention("k_norm");
  }

  String inputNorm() {
    return path + ".input_layernorm";
  }

  /** Of the attention's output, where there are outer norms; their name is another's elsewhere. */
  String attentionNorm() {
    return path + ".post_attention_layernorm";
  }

  String innerNorm() {
    return path
        + (config.options().outerNorms()
            ? ".pre_feedforward_layernorm"
            : ".post_attention_layernorm");
  }

  String outputNorm() {
    return path + ".post_feedforward_layernorm";
  }

  /** The module of the attention. */
  String attention() {
    return path + ".self_attn";
  }

  /** The module of the feed-forward network. */
  String feedForward() {
    return path + ".mlp";
  }

  private String attention(String name) {
    return path + ".self_attn." + name;
  }

  private String mlp(String name) {
    return path + ".mlp." + name;
  }

  /** Adds the layer, in the order of transformers' {@code named_parameters}. */
  void describe(ModelLayout.Builder layout) {
    LayerConfig.Options options = config.options();
    long hidden = config.hidden();
    if (options.joined()) {
      describeOutput(layout);
    }
    describe(layout, inputs(), inputSizes(), options.inputBias());
    if (!options.joined()) {
      describeOutput(layout);
    }
    if (options.headNorms()) {
      layout.norm(queryNorm(), config.headSize(), false);
      layout.norm(keyNorm(), config.headSize(), false);
    }
    describe(layout, inner(), innerSizes(), options.mlpBias());
    layout.linear(down(), config.intermediate(), hidden, options.mlpBias());
    layout.norm(inputNorm(), hidden, false);
    if (options.outerNorms()) {
      layout.norm(attentionNorm(), hidden, false);
    }
    layout.norm(innerNorm(), hidden, false);
    if (options.outerNorms()) {
      layout.norm(outputNorm(), hidden, false);
    }
    // AdapterHub acts before an outer norm, and a join here is after it.
    if (!options.outerNorms()) {
      layout.join(path + ".self_attn", hidden, JoinKind.ATTENTION, false);
      layout.join(path + ".mlp", hidden, JoinKind.FEED_FORWARD, false);
    }
  }

  private void describeOutput(ModelLayout.Builder layout) {
    layout.linear(
        attentionOutput(), config.querySize(), config.hidden(), config.options().outputBias());
  }

  private void describe(ModelLayout.Builder layout, List<String> paths, int[] sizes, boolean bias) {
    for (int i = 0; i < paths.size(); i++) {
      long out = paths.size() == 1 ? Arrays.stream(sizes).asLongStream().sum() : sizes[i];
      layout.linear(paths.get(i), config.hidden(), out, bias);
    }
  }
}
