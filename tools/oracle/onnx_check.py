"""Checks exported graphs with ONNX's own checker and shape inference: `python onnx_check.py MODEL.onnx ...`.

Also opens each in onnxruntime, and says what it found: opset, operators, inputs, metadata.
"""

import collections
import sys

import onnx
import onnxruntime


def main():
    for path in sys.argv[1:]:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path, load_external_data=False)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        known = {value.name for value in inferred.graph.value_info}
        known |= {value.name for value in inferred.graph.output}
        unknown = [name for node in model.graph.node for name in node.output if name not in known]
        names = [node.name for node in model.graph.node]
        assert len(set(names)) == len(names), "two nodes share a name"
        assert not unknown, f"no shape is known for {unknown[:3]}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        operators = collections.Counter(node.op_type for node in model.graph.node)
        opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
        metadata = {entry.key: entry.value[:60] for entry in model.metadata_props}
        print(path, f"IR {model.ir_version}", opsets, f"{len(names)} nodes", dict(operators.most_common(4)))
        print("  inputs", [value.name for value in session.get_inputs()][:6], "metadata", metadata)


if __name__ == "__main__":
    main()
