"""golden/safetensors: files by the Rust library, whose bytes a writer must repeat and whose values a reader must get.

manifest.json lists for each file its sha256, its metadata, the tensors in the order they were handed over, and
those in the order they lie in the file.
"""

import hashlib
import json
import struct

import torch
from safetensors.torch import save, save_file

from common import fresh, generator, setup, write_lines

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}
# Only their place in a file matters here: their bytes are handed over as hex.
RARE = {torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64", torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2", torch.complex64: "C64"}


def sample(dtype, *shape):
    gen = generator(f"{dtype}{shape}")
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=gen).bool()
    if dtype.is_floating_point:
        return torch.randn(shape, generator=gen).to(dtype)
    info = torch.iinfo(dtype)
    low, high = max(info.min, -2**40), min(info.max, 2**40)
    return torch.randint(low, high, shape, generator=gen, dtype=torch.int64).to(dtype)


def special(dtype):
    """Zeroes of both signs, infinities, NaN, the smallest and largest numbers."""
    info = torch.finfo(dtype)
    return torch.tensor([0.0, -0.0, 1.0, float("inf"), -float("inf"), float("nan"), info.tiny, info.tiny / 2, info.max,
                         info.min], dtype=torch.float64).to(dtype)


# Files are (tensors, metadata). Names are not in order: the library sorts by dtype (its own order, widest first), then
# by the name's UTF-8 bytes. One metadata key at most: the library writes several in no fixed order.
FILES = {
    "mixed": ({f"t.{NAMES[d].lower()}": sample(d, 3, 5) for d in NAMES}, {"format": "pt"}),
    "order": ({name: sample(dtype, 2, 3) for name, dtype in [
        ("b", torch.float32), ("a", torch.float16), ("c", torch.int64), ("a10", torch.float32), ("a2", torch.float32),
        ("Z", torch.float32), ("d", torch.bfloat16), ("_", torch.int8), ("e", torch.float64), ("f", torch.uint8),
        ("g", torch.int32), ("h", torch.bool), ("a.b", torch.float32), ("a-b", torch.float32)]}, None),
    "rare": ({f"t.{name.lower()}": sample(torch.uint8, 16).view(d) for d, name in {**RARE, **NAMES}.items()
              if d != torch.bool}, None),
    "special": ({f"s.{NAMES[d].lower()}": special(d) for d in (torch.float64, torch.float32, torch.float16,
                                                               torch.bfloat16)}, None),
    "shapes": ({"scalar": torch.tensor(1.5), "scalar.i64": torch.tensor(-7), "empty": torch.empty(0),
                "empty.2d": torch.empty(3, 0, 2), "one": sample(torch.float32, 1), "deep": sample(torch.float32, 2, 1,
                                                                                                  3, 1, 2),
                "odd.u8": sample(torch.uint8, 7), "odd.bool": sample(torch.bool, 3)}, None),
    "unicode": ({"größe": sample(torch.float32, 2), "重み": sample(torch.float32, 2), "\ufb01": sample(torch.float32, 1),
                 "𝛼": sample(torch.float32, 1),
                 'quote"back\\slash/': sample(torch.float32, 1), "tab\tnewline\n\u0001": sample(torch.float32, 1),
                 " space ": sample(torch.float32, 1), "\u007f\u2028": sample(torch.float32, 1)},
                {"schlüssel": "wert ✓ \"\\\n"}),
    "metadata": ({"w": sample(torch.float32, 2)}, {"format": "pt"}),
    "no-tensors": ({}, {"format": "pt"}),
    "nothing": ({}, None),
    "adapter": ({f"base_model.model.model.layers.{i}.self_attn.{p}.lora_{ab}.weight": sample(torch.float32, *shape)
                 for i in range(12) for p in ("v_proj", "q_proj") for ab, shape in (("B", (8, 2)), ("A", (2, 8)))},
                {"format": "pt"}),
    # The header is padded with spaces to a multiple of 8: all eight lengths.
    **{f"pad-{n}": ({"x" * (n + 1): sample(torch.int8, 3)}, None) for n in range(8)},
}


def entry(name, tensor):
    item = {"name": name, "dtype": {**NAMES, **RARE}[tensor.dtype], "shape": list(tensor.shape)}
    flat = tensor.reshape(-1)
    if tensor.dtype in RARE:
        item["hex"] = bytes(flat.view(torch.uint8).tolist()).hex()
    elif tensor.dtype.is_floating_point:
        # as strings that Java's Double.parseDouble reads; exact, since every dtype here widens to float64
        item["values"] = [str(v).replace("inf", "Infinity").replace("nan", "NaN") for v in flat.double().tolist()]
    else:
        item["values"] = flat.int().tolist() if tensor.dtype == torch.bool else flat.tolist()
    return item


def file_order(data):
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    return [name for name in header if name != "__metadata__"]


def main():
    folder = fresh("safetensors")
    manifest = {}
    for name, (tensors, metadata) in FILES.items():
        path = folder / f"{name}.safetensors"
        save_file(tensors, str(path), metadata=metadata)
        data = path.read_bytes()
        assert data == save(tensors, metadata=metadata), "serialize and serialize_file differ"
        manifest[path.name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "metadata": metadata,
                               "tensors": [entry(n, t) for n, t in tensors.items()], "file_order": file_order(data)}
    write_lines(folder / "manifest.json", {"files": [{"file": f, **about} for f, about in manifest.items()]})
    print(f"safetensors: {len(FILES)} files")


if __name__ == "__main__":
    setup()
    main()
