"""golden/training: whole runs; a start adapter, eight batches, the loss and gradient norm of every step, the end."""

import copy
import shutil
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from adapters import ATTENTION, TASKS, randomise, save
from common import (VOCAB, family, fresh, generator, inputs, load_base, load_file, max_diff, output, seed_of,
                    setup, write_json, write_tensors)

STEPS = 8
ROWS = (9, 6, 8)
OPTIMIZER = dict(lr=0.01, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.1)
MAX_NORM = 1.0


def task_of(base):
    return "SEQ_CLS" if base.endswith("-classifier") else "CAUSAL_LM"


def case(base, what, note=None, start="randomised", **config):
    return {"name": f"{base}-{what}", "base": base, "note": note, "start": start,
            "config": {"r": 4, "lora_alpha": 8, "task_type": TASKS.get(base, task_of(base)), **config}}


QUERY_VALUE = ["query", "value"]
CASES = [
    case("llama", "lora", start="initial", target_modules=ATTENTION, note="starts with B = 0, as a new adapter does"),
    case("llama", "all-linear", target_modules="all-linear", lora_bias=True),
    case("llama", "rslora-dora", target_modules=["q_proj", "down_proj"], use_rslora=True, use_dora=True),
    case("llama", "tokens", target_modules=ATTENTION, trainable_token_indices=[5, 42]),
    case("llama", "embedding", target_modules=["embed_tokens", "v_proj"], trainable_token_indices={"lm_head": [9, 42]},
         note="LoRA on the embedding, trained rows of the head"),
    case("llama-tied", "tokens", target_modules=ATTENTION, trainable_token_indices=[5, 42],
         note="the trained rows get gradients from both ends"),
    case("llama", "pissa", start="initial", target_modules=ATTENTION, init_lora_weights="pissa",
         note="start and final are not converted (the base is W - s*B0*A0, from start); final-converted is final as "
              "plain LoRA of rank 2r"),
    case("bert-classifier", "lora", target_modules=QUERY_VALUE, note="classifier is a module to save"),
    case("bert-classifier", "dora", target_modules=["query", "intermediate.dense"], use_dora=True),
    case("roberta-classifier", "bias-lora-only", target_modules=QUERY_VALUE, bias="lora_only"),
    case("bert-tokens", "lora", target_modules=QUERY_VALUE, note="padding and some other labels are -100"),
    case("roberta-answers", "lora", target_modules=QUERY_VALUE,
         note="labels are start_positions and end_positions; some lie outside of the row"),
    case("gemma2", "all-linear", target_modules="all-linear", modules_to_save=["norm"],
         note="bounded scores and logits, norms by 1 + weight; eager both times, so rounding is 0"),
    case("phi3-partial", "all-linear", target_modules="all-linear"),
    case("gpt2", "all-linear", target_modules="all-linear", bias="lora_only"),
    case("qwen2-classifier", "lora", target_modules=ATTENTION),
]


def batches(spec):
    gen = generator(spec["name"])
    steps = [inputs(spec["base"], ROWS, key=f"{spec['name']} {step}") for step in range(STEPS)]
    ids, mask = (torch.stack([step[k] for step in steps]) for k in ("input_ids", "attention_mask"))
    if spec["config"]["task_type"] == "QUESTION_ANS":
        # -1 counts as 0, the length of a row does not count
        start, end = torch.randint(-1, max(ROWS) + 1, (2, STEPS, len(ROWS)), generator=gen)
        start[:, 0], end[:, 0] = 2, 5  # each batch has one that counts
        return {"input_ids": ids, "attention_mask": mask, "start_positions": start, "end_positions": end}
    if spec["config"]["task_type"] == "TOKEN_CLS":
        labels = torch.randint(0, 5, ids.shape, generator=gen).masked_fill(mask == 0, -100)
        labels[:, 1, 1:3] = -100
    elif spec["config"]["task_type"] == "CAUSAL_LM":
        labels = ids.masked_fill(mask == 0, -100)
        labels[:, 1, :2] = -100  # a prompt that is not learned
    else:
        labels = torch.randint(0, 3, (STEPS, len(ROWS)), generator=gen)
    assert ids.max() < VOCAB
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def train(spec, start, data, attention="sdpa", base=None):
    """The plainest loop: every trainable tensor in one group, decay on all of them."""
    base = base or load_base(spec["base"])
    base.set_attn_implementation("eager" if family(spec["base"]) == "gemma2" else attention)
    model = PeftModel.from_pretrained(base, str(start), is_trainable=True).train()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, **OPTIMIZER)
    losses, norms = [], []
    for step in range(STEPS):
        loss = model(**{k: v[step] for k, v in data.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, MAX_NORM))
        optimizer.step()
        losses.append(loss.detach())
    return model, torch.stack(losses), torch.stack(norms)


def save_start(spec, folder):
    torch.manual_seed(seed_of(spec["name"]))
    model = get_peft_model(load_base(spec["base"]), LoraConfig(**copy.deepcopy(spec["config"])))
    if spec["start"] == "randomised":
        randomise(model, spec["name"])
    save(model, folder)


def save_converted(model, start, folder):
    """PiSSA's end as plain LoRA. The initial adapter must be declared plain, or loading it changes the base again."""
    initial = fresh(folder.parent / "initial")
    shutil.copytree(start, initial, dirs_exist_ok=True)
    config = LoraConfig.from_pretrained(initial)
    config.init_lora_weights = True
    config.save_pretrained(initial)
    save(model, folder, path_initial_model_for_weight_conversion=str(initial))
    shutil.rmtree(initial)


def saved_name(parameter):
    """The key under which PEFT saves a trainable parameter."""
    for part in (".default", ".modules_to_save"):
        parameter = parameter.replace(part, "")
    return parameter


def gradients(spec, start, batch, dtype):
    """Of one batch, the base's weights rounded to bfloat16 whatever they are computed in; PEFT keeps LoRA in float32."""
    base = load_base(spec["base"])
    base.set_attn_implementation("eager" if family(spec["base"]) == "gemma2" else "sdpa")
    for parameter in base.parameters():
        parameter.data = parameter.data.bfloat16().to(dtype)
    model = PeftModel.from_pretrained(base, str(start), is_trainable=True).train()
    model(**batch).loss.backward()
    return {saved_name(name): p.grad.float() for name, p in model.named_parameters() if p.grad is not None}


def save_rounded(spec, folder, data):
    """Gradients over a base in bfloat16: what they are in float32, and how far off PEFT's bfloat16 is, over all steps."""
    whole, worst = [], []
    for step in range(STEPS):
        batch = {k: v[step] for k, v in data.items()}
        exact, rough = (gradients(spec, folder / "start", batch, t) for t in (torch.float32, torch.bfloat16))
        if step == 0:
            write_tensors(folder / "rounded.safetensors", exact)
        most = max(g.norm() for g in exact.values())
        worst.append(max((rough[k] - g).norm() / max(g.norm(), 1e-3 * most) for k, g in exact.items()).item())
        whole.append((sum(((rough[k] - g) ** 2).sum() for k, g in exact.items())
                      / sum((g ** 2).sum() for g in exact.values())).sqrt().item())
    write_json(folder / "rounded.json", {"whole": max(whole), "worst_tensor": max(worst)})


def run_case(spec):
    folder = fresh(f"training/{spec['name']}")
    start = folder / "start"
    save_start(spec, start)
    data = batches(spec)
    model, losses, norms = train(spec, start, data)
    save(model, folder / "final")
    if str(spec["config"].get("init_lora_weights")).startswith("pissa"):
        save_converted(model, start, folder / "final-converted")
        converted = PeftModel.from_pretrained(load_base(spec["base"]), str(folder / "final-converted"))
        probe = {k: data[k][0] for k in ("input_ids", "attention_mask")}
        assert max_diff(output(model.eval(), probe), output(converted.eval(), probe)) < 1e-5
    write_tensors(folder / "io.safetensors", {**data, "losses": losses, "grad_norms": norms})
    if spec["name"].endswith("-all-linear"):
        save_rounded(spec, folder, data)

    # Another order of sums (eager attention) shows how far rounding alone carries a run.
    other, other_losses, _ = train(spec, start, data, attention="eager")
    save(other, folder / "eager")
    final, eager = (load_file(folder / k / "adapter_model.safetensors") for k in ("final", "eager"))
    rounding = {"losses": max_diff(losses, other_losses), "final": max(max_diff(final[k], eager[k]) for k in final)}
    shutil.rmtree(folder / "eager")

    note = {"note": spec["note"]} if spec["note"] else {}
    write_json(folder / "case.json", {
        "base": spec["base"], "config": spec["config"], "steps": STEPS, "optimizer": {"name": "AdamW", **OPTIMIZER},
        "max_grad_norm": MAX_NORM, "dropout": 0.0, "rounding": rounding, **note})
    print(f"{spec['name']:36} loss {losses[0]:.4f} -> {losses[-1]:.4f}  norms {norms[0]:.2f} -> {norms[-1]:.2f}  "
          f"rounding: losses {rounding['losses']:.1e}, final {rounding['final']:.1e}")


def main():
    warnings.filterwarnings("ignore")
    fresh("training")
    for spec in CASES:
        run_case(spec)


if __name__ == "__main__":
    setup()
    main()
