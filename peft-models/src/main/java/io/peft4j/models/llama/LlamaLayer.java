package io.peft4j.models.llama;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import io.peft4j.models.CausalContext;
import io.peft4j.nn.Join;
import io.peft4j.nn.Linear;
import io.peft4j.nn.Pass;
import io.peft4j.nn.RmsNorm;
import io.peft4j.target.ModelLayout;
import io.peft4j.torch.Attention;
import io.peft4j.torch.Ops;
import io.peft4j.torch.Rotary;

/** One layer of the decoder: attention and gated feed-forward, each of a normalised input. */
final class LlamaLayer {
  private final LlamaConfig config;
  private final int index;
  private final Rotary rotary;
  private final Attention attention;
  private final RmsNorm inputNorm;
  private final Linear query;
  private final Linear key;
  private final Linear value;
  private final Linear attentionOutput;
  private final Join attentionJoin;
  private final RmsNorm innerNorm;
  private final Linear gate;
  private final Linear up;
  private final Linear down;
  private final Join outputJoin;
  private final FusedLayer fused;

  LlamaLayer(ModelLayout layout, String path, int index, LlamaConfig config, Rotary rotary) {
    this.config = config;
    this.index = index;
    this.rotary = rotary;
    attention = Attention.of(config.heads(), config.keyValueHeads());
    inputNorm = new RmsNorm(layout, path + ".input_layernorm", config.epsilon());
    query = new Linear(layout, path + ".self_attn.q_proj");
    key = new Linear(layout, path + ".self_attn.k_proj");
    value = new Linear(layout, path + ".self_attn.v_proj");
    attentionOutput = new Linear(layout, path + ".self_attn.o_proj");
    attentionJoin = new Join(path + ".self_attn", null);
    innerNorm = new RmsNorm(layout, path + ".post_attention_layernorm", config.epsilon());
    gate = new Linear(layout, path + ".mlp.gate_proj");
    up = new Linear(layout, path + ".mlp.up_proj");
    down = new Linear(layout, path + ".mlp.down_proj");
    outputJoin = new Join(path + ".mlp", null);
    fused = new FusedLayer(layout, path, index, config, inputNorm, innerNorm);
  }

  FusedLayer fused() {
    return fused;
  }

  static void describe(ModelLayout.Builder layout, String path, LlamaConfig config) {
    long hidden = config.hidden();
    long queries = (long) config.heads() * config.headSize();
    long keys = (long) config.keyValueHeads() * config.headSize();
    boolean bias = config.attentionBias();
    layout.linear(path + ".self_attn.q_proj", hidden, queries, bias);
    layout.linear(path + ".self_attn.k_proj", hidden, keys, bias);
    layout.linear(path + ".self_attn.v_proj", hidden, keys, bias);
    layout.linear(path + ".self_attn.o_proj", queries, hidden, bias);
    layout.linear(path + ".mlp.gate_proj", hidden, config.intermediate(), config.mlpBias());
    layout.linear(path + ".mlp.up_proj", hidden, config.intermediate(), config.mlpBias());
    layout.linear(path + ".mlp.down_proj", config.intermediate(), hidden, config.mlpBias());
    layout.norm(path + ".input_layernorm", hidden, false);
    layout.norm(path + ".post_attention_layernorm", hidden, false);
  }

  NDArray forward(Pass pass, NDArray x, NDList rotations, CausalContext context) {
    NDArray normed = inputNorm.forward(pass, x);
    NDList turned =
        rotary.rotate(query.forward(pass, normed), key.forward(pass, normed), rotations);
    NDArray seen =
        context.attend(
            index,
            attention,
            turned.get(0),
            turned.get(1),
            value.forward(pass, normed),
            0,
            pass.dropout() ? config.attentionDropout() : 0);
    NDArray attended = attentionJoin.forward(pass, attentionOutput.forward(pass, seen), x);
    NDArray inner = innerNorm.forward(pass, attended);
    NDArray activated = Ops.siluProduct(gate.forward(pass, inner), up.forward(pass, inner));
    return outputJoin.forward(pass, down.forward(pass, activated), attended);
  }
}
