"""LoRA adapters as ONNX Runtime's own writer makes them, under the names and in the layout of Olive's converter:
A and B turned over, B times the scaling, `base_model.model.model` made `model`.
"""

import json
import math

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file

from common import GOLDEN

CASES = ["llama-lora", "llama-rslora", "bert-lora"]


def main():
    folder = GOLDEN / "onnx"
    folder.mkdir(exist_ok=True)
    for case in CASES:
        source = GOLDEN / "adapters" / case
        config = json.loads((source / "adapter_config.json").read_text())
        rank = math.sqrt(config["r"]) if config["use_rslora"] else config["r"]
        parameters = {}
        for name, value in load_file(source / "adapter_model.safetensors").items():
            scale = config["lora_alpha"] / rank if "lora_B" in name else 1
            turned = np.ascontiguousarray(value.T) * np.float32(scale)
            parameters[name.replace("base_model.model.model", "model")] = ort.OrtValue.ortvalue_from_numpy(turned)
        adapter = ort.AdapterFormat()
        adapter.set_adapter_version(1)
        adapter.set_model_version(1)
        adapter.set_parameters(parameters)
        adapter.export_adapter(str(folder / f"{case}.onnx_adapter"))


if __name__ == "__main__":
    main()
