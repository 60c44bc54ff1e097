"""Remakes every golden file, or the areas named: `python generate.py [models adapters matching ...]`."""

import os
import subprocess
import sys
from pathlib import Path

AREAS = [
    "models",
    "adapters",
    "matching",
    "safetensors_files",
    "training",
    "multi",
    "optimizer",
    "full",
    "methods",
    "chat_templates",
    "gguf_files",
    "generation",
    "family_generation",
    "loraplus",
    "metrics",
    "events",
    "instruction",
    "onnx_adapters",
    "quantization",
    "qlora",
]


def main():
    here = Path(__file__).resolve().parent
    # PEFT writes Python sets as lists: with hashing fixed, in the same order every time.
    env = {**os.environ, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
    for area in sys.argv[1:] or AREAS:
        if area not in AREAS:
            sys.exit(f"no area {area!r}, there are {', '.join(AREAS)}")
        subprocess.run([sys.executable, str(here / f"{area}.py")], env=env, check=True)
    for path in (here.parents[1] / "golden").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the Rust writer makes files that only their owner reads


if __name__ == "__main__":
    main()
