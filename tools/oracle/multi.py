"""golden/multi: several adapters over one base: alone, together, by rows of a batch, and combined into new ones."""

import copy
import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer

from adapters import randomise, save
from common import (fresh, inputs, load_base, max_diff, output, seed_of, setup, write_json, write_lines,
                    write_tensors)

ROWS = (5, 4, 3, 5, 2)
COMBINED_ROWS = (4, 2)  # few: there are many combinations

# `a` and `b` have one rank and overlap in q_proj alone; `c` has ranks and alphas per layer; `d` is rsLoRA; `e` and
# `f` adapt the embedding; `dora` is DoRA.
ADAPTERS = {
    "llama": {
        "a": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        "b": dict(r=4, lora_alpha=4, target_modules=["q_proj", "down_proj"]),
        "c": dict(r=6, lora_alpha=3, target_modules=["q_proj", "v_proj"], rank_pattern={"0.self_attn.q_proj": 2},
                  alpha_pattern={"v_proj": 9}),
        "d": dict(r=4, lora_alpha=4, target_modules=["q_proj", "v_proj"], use_rslora=True),
        "e": dict(r=4, lora_alpha=8, target_modules=["embed_tokens", "v_proj"]),
        "f": dict(r=4, lora_alpha=2, target_modules=["embed_tokens", "v_proj"]),
        "dora": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], use_dora=True),
    },
    # `a` and `c` bring classifiers of their own, `b` keeps the base's. PEFT can load `b` only as the first: a model
    # made for SEQ_CLS wants a classifier from every adapter.
    "bert-classifier": {
        "b": dict(r=6, lora_alpha=6, target_modules=["query", "dense"]),
        "a": dict(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS"),
        "c": dict(r=4, lora_alpha=4, target_modules=["key", "value"], use_rslora=True, task_type="SEQ_CLS"),
    },
}
ACTIVE = {"llama": [("a", "b"), ("a", "b", "c", "d"), ("a", "e"), ("e", "f"), ("dora", "b")],
          "bert-classifier": [("a", "b"), ("b", "c")]}
WEIGHTED = {"llama": {"a": 0.5, "b": -0.25, "d": 2.0}, "bert-classifier": {"a": 0.5, "b": -0.25}}
MIXED = {"llama": [["a", "__base__", "b", "d", "c"], ["e", "a", "f", "a", "__base__"],
                   ["dora", "a", "__base__", "dora", "e"]],
         "bert-classifier": [["a", "__base__", "c", "c", "a"], ["a", "__base__", "b", "c", "a"]]}
# PEFT refuses DoRA in a mixed batch, and fails on an adapter that lacks a module that others save.
NOT_IN_PEFT_MIXED = {("llama", "dora"), ("bert-classifier", "b")}

SIGNED, POSITIVE = (0.7, -0.4), (0.6, 0.9)
DENSE = dict(density=0.5)
EXACT = ("cat", "svd")  # what this project computes exactly; PEFT does so unless the first adapter is rsLoRA


def combinations():
    """(adapters, weights, arguments): all types on a and b, then what is special."""
    for weights in (SIGNED, POSITIVE):
        for kind in ("cat", "svd", "linear"):
            yield ("a", "b"), weights, dict(combination_type=kind)
        for kind in ("magnitude_prune", "magnitude_prune_svd", "dare_linear", "dare_linear_svd"):
            yield ("a", "b"), weights, dict(combination_type=kind, **DENSE)
        for kind in ("ties", "ties_svd", "dare_ties", "dare_ties_svd"):
            for method in ("total", "frequency"):
                yield ("a", "b"), weights, dict(combination_type=kind, majority_sign_method=method, **DENSE)
    # Density 1 prunes nothing, so that dare is not random.
    for kind in ("dare_linear", "dare_ties", "dare_linear_svd", "dare_ties_svd", "ties", "magnitude_prune"):
        yield ("a", "b"), SIGNED, dict(combination_type=kind, density=1.0)
    yield ("a", "b"), SIGNED, dict(combination_type="svd", svd_rank=8)  # ranks add up: the sum itself
    yield ("a", "b"), SIGNED, dict(combination_type="svd", svd_rank=2)
    yield ("a",), (-0.5,), dict(combination_type="cat")  # PEFT turns one adapter into linear
    for kind in ("cat", "svd"):
        yield ("a", "c"), SIGNED, dict(combination_type=kind)
        yield ("a", "d"), SIGNED, dict(combination_type=kind)
        yield ("d", "a"), SIGNED, dict(combination_type=kind)
        yield ("a", "b", "c"), (0.5, 0.3, -1.2), dict(combination_type=kind)
        yield ("e", "f"), SIGNED, dict(combination_type=kind)
    for kind in ("linear", "ties", "ties_svd", "magnitude_prune"):
        more = {} if kind == "linear" else DENSE
        yield ("a", "d"), SIGNED, dict(combination_type=kind, **more)
        yield ("d", "a"), SIGNED, dict(combination_type=kind, **more)
        yield ("e", "f"), SIGNED, dict(combination_type=kind, **more)


def save_adapters(base, folder):
    for name, config in ADAPTERS[base].items():
        key = f"multi {base} {name}"
        torch.manual_seed(seed_of(key))
        model = get_peft_model(load_base(base), LoraConfig(**copy.deepcopy(config)))
        randomise(model, key)
        save(model, folder / name)


def load_all(base, folder):
    first, *others = ADAPTERS[base]
    model = PeftModel.from_pretrained(load_base(base), str(folder / first), adapter_name=first)
    for name in others:
        model.load_adapter(str(folder / name), adapter_name=name)
    return model.eval()


def lora_layers(model):
    return {n: m for n, m in model.base_model.model.named_modules() if isinstance(m, LoraLayer)}


def available(layer):
    return set(layer.lora_A) | set(layer.lora_embedding_A)


def together(base, folder, batch):
    """Outputs of each adapter, of several at once, with weights, and row by row."""
    model = load_all(base, folder)
    tensors = {**batch, "base": output(load_base(base), batch)}
    for name in ADAPTERS[base]:
        model.set_adapter(name)
        tensors[f"only.{name}"] = output(model, batch)
    for names in ACTIVE[base]:
        model.base_model.set_adapter(list(names))
        tensors["active." + "+".join(names)] = output(model, batch)
    model.set_adapter(next(iter(ADAPTERS[base])))
    for i, names in enumerate(MIXED[base]):
        rows = torch.stack([tensors["base" if n == "__base__" else f"only.{n}"][row] for row, n in enumerate(names)])
        if NOT_IN_PEFT_MIXED.isdisjoint((base, n) for n in names):
            tensors[f"mixed.{i}"] = output(model, batch, adapter_names=names)
            assert max_diff(tensors[f"mixed.{i}"], rows) < 1e-5
        else:
            tensors[f"mixed.{i}"] = rows
    model.base_model.set_adapter(list(WEIGHTED[base]))
    for layer in lora_layers(model).values():
        for name, weight in WEIGHTED[base].items():
            layer.set_scale(name, weight)  # times alpha / r, or what else is usual
    tensors["weighted"] = output(model, batch)
    return tensors


def exact_delta(layer, adapters, weights, rank=None):
    """The weighted sum itself, or the best approximation of that rank, in float64."""
    present = [(a, w) for a, w in zip(adapters, weights) if a in available(layer)]
    if not present:
        return None
    total = sum(w * layer.get_delta_weight(a).double() for a, w in present)
    if rank is not None:
        u, s, v = torch.linalg.svd(total, full_matrices=False)
        total = u[:, :rank] @ torch.diag(s[:rank]) @ v[:rank]
    return total.float()


@torch.no_grad()
def output_with(base, deltas, batch):
    model = load_base(base)
    for path, delta in deltas.items():
        model.get_submodule(path).weight.add_(delta)
    return output(model, batch)


def combine(base, folder):
    listing = []
    target = fresh(folder / "combined")
    batch = inputs(base, COMBINED_ROWS)
    write_tensors(target / "io.safetensors", batch)
    for i, (adapters, weights, how) in enumerate(combinations()):
        kind = how["combination_type"]
        model = load_all(base, folder)
        torch.manual_seed(0)  # for the dare types
        model.base_model.add_weighted_adapter(list(adapters), list(weights), "new", **how)
        model.set_adapter("new")
        peft_output = output(model, batch)
        layers = {p: m for p, m in lora_layers(model).items() if "new" in available(m)}
        config = model.peft_config["new"]
        about = {"adapters": adapters, "weights": weights, **how, "r": config.r, "lora_alpha": config.lora_alpha,
                 "use_rslora": config.use_rslora, "target_modules": sorted(config.target_modules)}
        deltas = {p: m.get_delta_weight("new") for p, m in layers.items()}
        if kind in EXACT:
            rank = config.r if kind == "svd" and len(adapters) > 1 else None
            exact = {p: exact_delta(m, adapters, weights, rank) for p, m in layers.items()}
            about["peft_error"] = max(max_diff(exact[p], deltas[p]) for p in exact)
            tensors = {f"exact_delta.{p}": d for p, d in exact.items()}
            tensors["output"] = output_with(base, exact, batch)
            assert about["peft_error"] < 1e-5 or ADAPTERS[base][adapters[0]].get("use_rslora")
        else:
            # An SVD is free in sign, so only its product is stored; of the others the tensors, which say more.
            svd = kind.endswith("_svd")
            tensors = {f"delta.{p}": d for p, d in deltas.items()} if svd else get_peft_model_state_dict(
                model, adapter_name="new", save_embedding_layers=False)
            tensors["output"] = peft_output
        about["random"] = kind.startswith("dare") and how["density"] < 1
        file = f"{i:02d}-{kind}-{'-'.join(adapters)}.safetensors"
        write_tensors(target / file, tensors)
        listing.append({"file": file, **about})
    write_lines(target / "cases.json", {"cases": listing})
    print(f"{base}: {len(listing)} combinations; PEFT wrong in",
          [c["file"] for c in listing if c.get("peft_error", 0) > 1e-5])


def main():
    warnings.filterwarnings("ignore")
    fresh("multi")
    for base in ADAPTERS:
        folder = fresh(f"multi/{base}")
        batch = inputs(base, ROWS)
        save_adapters(base, folder)
        write_tensors(folder / "io.safetensors", together(base, folder, batch))
        write_json(folder / "case.json", {"base": base, "adapters": list(ADAPTERS[base]), "active": ACTIVE[base],
                                          "weighted": WEIGHTED[base], "mixed": MIXED[base]})
        if base == "llama":
            combine(base, folder)


if __name__ == "__main__":
    setup()
    main()
