"""golden/hub: adapter directories of AdapterHub's library, with the outputs they must give.

Runs in an environment of its own, see the README: the library pins an older transformers.
`hub.py check DIRECTORY` loads directories that the Java tests wrote, and compares outputs.
"""

import json
import os
import shutil
import sys
import warnings
import zlib
from pathlib import Path

import adapters
import torch
import transformers
from adapters import BnConfig, LoRAConfig
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[3] / "golden"
AUTO = {"bert": transformers.AutoModel, "bert-classifier": transformers.AutoModelForSequenceClassification,
        "llama": transformers.AutoModelForCausalLM}

PLAIN = {"mh_adapter": False, "output_adapter": True, "reduction_factor": 8, "non_linearity": "relu"}


def plain(**more):
    return {**PLAIN, **more}


# The library's own preset needs torchvision for a rate that only training knows.
PLUS = plain(original_ln_before=True, original_ln_after=False, residual_before_ln=False, init_weights="houlsby",
             scaling="channel", non_linearity="gelu", reduction_factor=16)

EVERYWHERE = {
    "seq_bn": "seq_bn",
    "double_seq_bn": "double_seq_bn",
    "par_bn": "par_bn",
    "scaled_par_bn": "scaled_par_bn",
    "plus": PLUS,
    "gelu": plain(non_linearity="gelu"),
    "gelu_new": plain(non_linearity="gelu_new"),
    "silu": plain(non_linearity="silu"),
    "tanh": plain(non_linearity="tanh"),
    "leakyrelu": plain(non_linearity="leakyrelu"),
    "leaky_relu": plain(non_linearity="leaky_relu", is_parallel=True),
    "norms": plain(ln_before=True, ln_after=True, mh_adapter=True),
    "norm-after-sum": plain(ln_after=True, adapter_residual_before_ln=True),
    "parallel-norms": plain(is_parallel=True, ln_before=True, ln_after=True, scaling="learned"),
    "gate": plain(use_gating=True, original_ln_before=True, original_ln_after=True),
    "parallel-gate": plain(is_parallel=True, use_gating=True, scaling=2.0),
    "residual-after": plain(original_ln_before=True, residual_before_ln=False),
    "attention-only": plain(mh_adapter=True, output_adapter=False, scaling=0.5, dropout=0.1),
    "layers": plain(reduction_factor={"1": 5, "default": 0.5}),
    "leave-out": plain(leave_out=[0], mh_adapter=True),
    "no-end": plain(original_ln_after=False),
}
CASES = [(base, what, config) for base in ("bert", "llama") for what, config in EVERYWHERE.items()]
CASES += [("bert", "residual-sum", plain(original_ln_before=True, residual_before_ln="post_add")),
          ("bert-classifier", "seq_bn", "seq_bn"),
          ("bert", "lora", LoRAConfig(r=4, alpha=6, attn_matrices=["q", "k"], intermediate_lora=True)),
          ("bert-classifier", "lora", LoRAConfig(r=2, alpha=8, output_lora=True, leave_out=[1])),
          ("llama", "lora", LoRAConfig(r=4, alpha=8, intermediate_lora=True, output_lora=True)),
          ("llama", "lora-intermediate", LoRAConfig(r=4, alpha=8, selfattn_lora=False, intermediate_lora=True))]
STACKS = [("bert", "stack", ["seq_bn", "double_seq_bn", PLUS]), ("llama", "stack", ["double_seq_bn", "seq_bn"])]


def load(base):
    model = AUTO[base].from_pretrained(GOLDEN / "models" / base, dtype=torch.float32).eval()
    adapters.init(model)
    return model


def inputs(key):
    ids = torch.randint(5, 100, (3, 9), generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[2, 4:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@torch.no_grad()
def output(model, batch):
    model.eval()  # what the library adds begins in training mode
    result = model(**batch)
    return result["logits"] if "logits" in result else result["last_hidden_state"]


def config_of(value):
    return BnConfig(**value) if isinstance(value, dict) else value


def add(model, name, config, key):
    """A new adapter, moved away from where it begins."""
    model.add_adapter(name, config=config_of(config))
    gen = torch.Generator().manual_seed(zlib.crc32(key.encode()))
    marks = (f".adapters.{name}.", f".loras.{name}.")
    with torch.no_grad():
        for path, parameter in sorted(model.named_parameters()):
            if any(mark in path for mark in marks):
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=gen))


def save(model, folder, name):
    """What `save_adapter` writes. Norms under two names, which it cannot write, are written twice."""
    folder.mkdir(parents=True)
    try:
        model.save_adapter(str(folder), name, with_head=False, use_safetensors=True)
    except RuntimeError:
        marks = f".adapters.{name}."
        state = {k: v.clone() for k, v in model.state_dict().items() if marks in k}
        save_file(state, str(folder / "adapter.safetensors"))
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["model_name"] = "models/" + Path(config["model_name"]).name
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def run_case(base, what, config):
    key = f"{base}-{what}"
    folder = GOLDEN / "hub" / key
    model = load(base)
    batch = inputs(key)
    plain_output = output(model, batch)
    add(model, what.replace("-", "_"), config, key)
    model.set_active_adapters(what.replace("-", "_"))
    save(model, folder, what.replace("-", "_"))
    adapted = output(model, batch)
    again = load(base)
    again.set_active_adapters(again.load_adapter(str(folder), use_safetensors=True))
    assert torch.equal(adapted, output(again, batch))
    save_file({**batch, "base": plain_output, "output": adapted}, str(folder / "io.safetensors"))
    (folder / "case.json").write_text(json.dumps({"base": base}) + "\n", encoding="utf-8")
    print(f"{key:32} effect {(adapted - plain_output).abs().max().item():.3f}")


def run_stack(base, what, configs):
    key = f"{base}-{what}"
    folder = GOLDEN / "hub" / key
    model = load(base)
    batch = inputs(key)
    names = [f"part{i}" for i in range(len(configs))]
    for name, config in zip(names, configs):
        add(model, name, config, key + name)
        save(model, folder / name, name)
    tensors = dict(batch)
    for stack in (names, names[::-1]):
        model.set_active_adapters(adapters.composition.Stack(*stack))
        tensors["output." + ".".join(stack)] = output(model, batch)
    save_file(tensors, str(folder / "io.safetensors"))
    (folder / "case.json").write_text(json.dumps({"base": base, "parts": names}) + "\n", encoding="utf-8")
    print(key)


def check(root):
    """Directories as the Java tests leave them: an adapter, and what it gives in `io.safetensors`."""
    for folder in sorted(Path(root).iterdir()):
        base = json.loads((folder / "case.json").read_text(encoding="utf-8"))["base"]
        io = load_file(str(folder / "io.safetensors"))
        model = load(base)
        info = {}
        model.set_active_adapters(model.load_adapter(str(folder), use_safetensors=True, loading_info=info, with_head=False))
        assert not info.get("missing_keys"), info
        result = output(model, {k: io[k] for k in ("input_ids", "attention_mask")})
        kept = io["attention_mask"].bool()
        error = (result - io["output"]).abs()
        error = (error[kept] if error.dim() == 3 else error).max().item()
        print(f"{folder.name:32} {error:.1e}")
        assert error < 1e-5


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    if sys.argv[1:2] == ["check"]:
        check(sys.argv[2])
        return
    shutil.rmtree(GOLDEN / "hub", ignore_errors=True)
    for case in CASES:
        run_case(*case)
    for case in STACKS:
        run_stack(*case)
    for path in (GOLDEN / "hub").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
