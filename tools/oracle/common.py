"""What all golden generators share: paths, seeds, tiny models' inputs, file helpers.

Generators run with the golden folder as working directory and load bases as `models/<name>`, so that the
`base_model_name_or_path` that PEFT writes is relative and the same on every machine.
"""

import json
import os
import shutil
import zlib
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a base is a folder here; nothing is looked up on the network

import torch
import transformers
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
PAD = {"bert": 0, "roberta": 1, "llama": 0}
LENGTHS = (11, 7, 4)  # one row without padding, two with
SHORT = (7, 5, 3)  # for the many adapter cases, to keep the files small
SEQ = max(LENGTHS)
VOCAB = 100

AUTO = {
    "bert": transformers.AutoModel,
    "bert-classifier": transformers.AutoModelForSequenceClassification,
    "roberta": transformers.AutoModel,
    "roberta-classifier": transformers.AutoModelForSequenceClassification,
    "bert-tokens": transformers.AutoModelForTokenClassification,
    "bert-answers": transformers.AutoModelForQuestionAnswering,
    "roberta-tokens": transformers.AutoModelForTokenClassification,
    "roberta-answers": transformers.AutoModelForQuestionAnswering,
    "llama": transformers.AutoModelForCausalLM,
    "llama-tied": transformers.AutoModelForCausalLM,
    "llama-f16": transformers.AutoModelForCausalLM,
}
AUTO_BY_SUFFIX = {"base": transformers.AutoModel, "classifier": transformers.AutoModelForSequenceClassification,
                  "tokens": transformers.AutoModelForTokenClassification}


def setup():
    """One thread and float32: sums are then taken in one order only."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    GOLDEN.mkdir(exist_ok=True)
    os.chdir(GOLDEN)


def seed_of(name):
    """A seed that depends on the case alone, so that adding a case changes no other file."""
    return zlib.crc32(name.encode())


def generator(name):
    return torch.Generator().manual_seed(seed_of(name))


def fresh(path):
    """An empty folder."""
    path = Path(path)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def load_base(name):
    """The base in float32, whatever it is stored as, in eval mode."""
    kind = AUTO.get(name) or AUTO_BY_SUFFIX.get(name.split("-")[-1], transformers.AutoModelForCausalLM)
    return kind.from_pretrained(f"models/{name}", dtype=torch.float32).eval()


def family(name):
    return name.split("-")[0]


def vocabulary(name):
    return json.loads(Path(f"models/{name}/config.json").read_text(encoding="utf-8"))["vocab_size"]


def inputs(name, rows=LENGTHS, left=False, key="io"):
    """Random tokens (above all special ids), padded on the right, or on the left."""
    pad = PAD.get(family(name), 0)
    ids = torch.randint(5, vocabulary(name), (len(rows), max(rows)), generator=generator(key))
    ids[0, :4] = torch.tensor([5, 42, 5, 7])  # the tokens that some cases train
    ids[1:, -2:] = ids[1:, :2] = torch.tensor([42, 9])
    mask = torch.zeros_like(ids)
    for row, length in enumerate(rows):
        mask[row, -length:] = 1
        if not left:
            mask[row] = mask[row].flip(0)
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}


@torch.no_grad()
def output(model, batch, **more):
    """Logits (those of an answer's begin), or the last hidden state of a headless model."""
    result = model(**batch, **more)
    return next(result[k] for k in ("logits", "start_logits", "last_hidden_state") if k in result).detach()


@torch.no_grad()
def outputs(model, batch, key):
    """What `output` gives, and beside it the logits of an answer's end where there are some."""
    ends = model(**batch).get("end_logits")
    return {key: output(model, batch), **({} if ends is None else {f"{key}.end_logits": ends})}


def write_tensors(path, tensors):
    # clones: safetensors refuses tensors that share memory
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, str(path), metadata={"format": "pt"})


def write_json(path, value):
    Path(path).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path, lists):
    """JSON of named lists with an entry a line: small, and a change shows as one line."""
    parts = [f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(e, ensure_ascii=False) for e in entries) + "\n]"
             for name, entries in lists.items()]
    Path(path).write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def max_diff(a, b):
    return (a - b).abs().max().item()


__all__ = [n for n in dir() if not n.startswith("_")] + ["load_file"]
