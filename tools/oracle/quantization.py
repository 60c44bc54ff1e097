"""golden/quantization: what bitsandbytes makes of tensors and of tiny models, in 4 bits.

Packed values and scales are those of the wheel's native code. Dequantized values are those of its generic code
(`_dequantize_4bit_compute`): the native code gives the same where it is right, which is checked, but with AVX-512 it
takes the wrong scales where rows are shorter than blocks, and takes denormal bfloat16 values for zero.
"""

import os
import zlib
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch
import bitsandbytes.functional as bnb
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

from common import AUTO, fresh, inputs, load_base, output, setup, write_json, write_tensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def drawn(name, count):
    """Values that Java draws as well: cubes of a linear congruential generator's upper 24 bits, in float32."""
    state, values = zlib.crc32(name.encode()), np.empty(count, np.float32)
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = np.float32((state >> 8) - 2**23) / np.float32(2**23)
    return torch.from_numpy(values * values * values)


def special(kind):
    """Inputs where formulas part: each is a few values."""
    nf4 = bnb.get_4bit_type("nf4", device="cpu")
    fp4 = bnb.get_4bit_type("fp4", device="cpu").sort().values
    ties = [(code[:-1] + code[1:]) / 2 for code in (nf4, fp4)]
    around = [torch.nextafter(t, torch.tensor(s)) for t in ties for s in (-2.0, 2.0)]
    return {
        "ties": torch.cat([*ties, *around, nf4, fp4, torch.ones(1)]),
        "zeros": torch.cat([torch.zeros(64), -torch.zeros(64), torch.ones(5)]),
        "zero-tail": torch.cat([torch.ones(64), torch.zeros(7)]),
        "denormal": drawn("denormal", 200) * 1e-40,
        "tiny": drawn("tiny", 200) * 3e-38,
        "huge": drawn("huge", 200) * 3.3e38,
        "one": torch.tensor([-0.3]),
        "one-zero": torch.tensor([0.0]),
        "two": torch.tensor([0.25, -1.5]),
        "negative": -drawn("negative", 130).abs() - 0.01,
    }[kind]


def cases():
    for kind in ("ties", "zeros", "zero-tail", "denormal", "tiny", "huge", "one", "one-zero", "two", "negative"):
        for quant_type in ("nf4", "fp4"):
            for double in (False, True)[: 1 if kind == "huge" else 2]:  # the mean of huge scales is infinite
                values = special(kind)
                yield f"{kind}-{quant_type}{'-dq' if double else ''}", values, quant_type, 64, double
    for dtype in ("bfloat16", "float16"):
        for quant_type in ("nf4", "fp4"):
            name = f"{dtype}-{quant_type}"
            yield name, drawn(name, 12 * 96).reshape(12, 96).to(DTYPES[dtype]), quant_type, 64, True
    for block in (32, 64, 128, 256, 512, 1024, 2048, 4096):
        name, quant_type = f"block-{block}", "fp4" if block in (64, 1024) else "nf4"
        yield name, drawn(name, 4096 + block // 2 + 2).reshape(2, -1), quant_type, block, True
    for shape in ((7, 33), (3, 5), (5,), (1, 65), (63, 1)):
        name = f"shape-{'x'.join(map(str, shape))}"
        yield name, drawn(name, int(np.prod(shape))).reshape(shape), "nf4", 32, True
    # More scales than one nested block holds, the last of them partial.
    for count in (32 * 256, 32 * 257, 32 * 700 - 5):
        name = f"nested-{count}"
        yield name, drawn(name, count), "nf4", 32, True


def dequantized(packed, state):
    """The generic formula, and whether the native code agrees."""
    scales = state.absmax
    if state.nested:
        scales = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
    return _dequantize_4bit_compute(packed.reshape(-1), scales, state.code, state.blocksize, state.shape, state.dtype)


def tensors():
    """Everything the wheel saves of each case, and a checksum of the dequantized bytes; drawn inputs are left out."""
    stored, listed = {}, []
    for name, values, quant_type, block, double in cases():
        packed, state = bnb.quantize_4bit(values, blocksize=block, compress_statistics=double, quant_type=quant_type)
        result = dequantized(packed, state)
        native = bnb.dequantize_4bit(packed, state).reshape(result.shape)
        odd = values.dtype == torch.bfloat16 or name.startswith(("denormal", "tiny"))
        if values.shape[-1] % block == 0 and not odd:
            assert torch.equal(result, native), name
        parts = {"weight": packed, **{f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}}
        for key, part in parts.items():
            if key not in ("weight.quant_map", "weight.nested_quant_map"):
                stored[f"{name}/{key}"] = part
        is_drawn = name.startswith(("float16", "bfloat16", "block", "shape", "nested"))
        if not is_drawn:
            stored[f"{name}/input"] = values
        crc = zlib.crc32(data_of(result))
        listed.append({"name": name, "type": quant_type, "block": block, "double": double, "shape": list(values.shape),
                       "dtype": str(values.dtype).removeprefix("torch."), "drawn": is_drawn, "crc": crc})
    for kind in ("nf4", "fp4"):
        stored[f"{kind}/quant_map"] = bnb.get_4bit_type(kind, device="cpu")
    stored["dynamic_map"] = bnb.create_dynamic_map()
    write_tensors("quantization/tensors.safetensors", stored)
    write_json("quantization/cases.json", {"cases": listed})


MODELS = {
    "llama-nf4-dq": ("llama", dict(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    "llama-fp4": ("llama", {}),
    "llama-skip": ("llama", dict(bnb_4bit_quant_type="nf4", llm_int8_skip_modules=["lm_head", "layers.0", "up_proj"])),
    "llama-storage": ("llama", dict(bnb_4bit_quant_type="nf4", bnb_4bit_quant_storage="bfloat16",
                                    bnb_4bit_compute_dtype="bfloat16")),
    "llama-tied-nf4": ("llama-tied", dict(bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)),
    "llama-f16-nf4": ("llama-f16", dict(bnb_4bit_quant_type="nf4")),
    "bert-classifier-nf4": ("bert-classifier", dict(bnb_4bit_quant_type="nf4")),
    "gpt2-nf4": ("gpt2", dict(bnb_4bit_quant_type="nf4")),
}


def data_of(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def unpacked(base, quantized):
    """The base in float32 with the values of the 4-bit weights; see above why not the quantized model itself."""
    dense = load_base(base)
    for path, module in quantized.named_modules():
        if isinstance(module, Linear4bit):
            values = dequantized(module.weight.data.view(torch.uint8), module.weight.quant_state).float()
            weight = dense.get_submodule(path).weight
            weight.data = values if weight.shape == values.shape and base != "gpt2" else values.T.contiguous()
    return dense


def models():
    """What transformers saves of a base that it loaded in 4 bits: one whole directory, and of all a checksum by tensor."""
    saved, expected = {}, {}
    for name, (base, options) in MODELS.items():
        kind = AUTO.get(base, AutoModelForCausalLM)
        config = BitsAndBytesConfig(load_in_4bit=True, **options)
        model = kind.from_pretrained(f"models/{base}", quantization_config=config, device_map="cpu").eval()
        folder = fresh(f"quantization/{name}")
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        saved[name] = {"base": base, "config": config.to_dict() | {"quant_method": "bitsandbytes"}, "tensors": {
            key: f"{str(t.dtype).removeprefix('torch.')} {list(t.shape)} {zlib.crc32(data_of(t)):08x}"
            for key, t in sorted(tensors.items()) if not key.endswith("quant_map")}}
        batch = inputs(base)
        expected |= {f"{name}/{key}": value for key, value in batch.items()}
        expected[f"{name}/output"] = output(unpacked(base, model), batch)
        if name != "llama-nf4-dq":
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    write_tensors("quantization/io.safetensors", expected)
    write_json("quantization/models.json", saved)


if __name__ == "__main__":
    setup()
    fresh("quantization")
    tensors()
    models()
