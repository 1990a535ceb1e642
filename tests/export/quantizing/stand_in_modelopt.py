"""An environment in which a program of a few lines stands for ModelOpt."""

from __future__ import annotations

import stat
import sys
from collections.abc import Mapping
from pathlib import Path

VERSIONS = {"nvidia_modelopt": "0.47.0", "onnx_graphsurgeon": "0.6.1"}

#: Quantizes weights per tensor and activations with the largest magnitude that it reads from the samples.
WORKS = """
import numpy as np, onnx, re
from onnx import helper, numpy_helper

def quantize_in(mode, onnx_path, nodes_to_quantize, calibration_data_reader, **options):
    assert options["calibration_eps"] == ["cpu"] and options["high_precision_dtype"] == "fp32"
    largest = {}
    while (sample := calibration_data_reader.get_next()) is not None:
        for name, array in sample.items():
            largest[name] = max(largest.get(name, 0), float(np.abs(array).max()))
    model = onnx.load(onnx_path)
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    kinds = {"int8": (127, onnx.TensorProto.INT8), "fp8": (448, onnx.TensorProto.FLOAT8E4M3FN)}
    most, kind = kinds[mode]
    nodes = []
    for node in model.graph.node:
        if any(re.match(pattern, node.name) for pattern in nodes_to_quantize):
            for place in (0, 1):
                name = node.input[place]
                peak = np.abs(weights[name]).max() if name in weights else largest.get(name, 8.0)
                scale = numpy_helper.from_array(np.float16(peak / most), name + "_scale")
                zero = helper.make_tensor(name + "_zero", kind, [], b"\\0", raw=True)
                if scale.name not in weights:
                    model.graph.initializer.extend([scale, zero])
                    weights[scale.name] = scale
                    given = name
                    for operator, end in (("QuantizeLinear", "_q"), ("DequantizeLinear", "_dq")):
                        inputs = [given, scale.name, zero.name]
                        nodes.append(helper.make_node(operator, inputs, [name + end], name + end))
                        given = name + end
                node.input[place] = name + "_dq"
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
"""


#: What the modules `int8` and `fp8` of ModelOpt have.
QUANTIZE = """
from modelopt.program import quantize_in
def quantize(**given):
    return quantize_in({precision!r}, **given)
"""


def make(folder: Path, program: str = WORKS, versions: Mapping[str, str] = VERSIONS) -> Path:
    """Make an environment, and return its Python. `program` defines `quantize_in`."""
    package = folder / "lib" / "modelopt" / "onnx" / "quantization"
    package.mkdir(parents=True)
    for place in (package.parent.parent, package.parent, package):
        (place / "__init__.py").touch()
    (package.parent.parent / "program.py").write_text(program)
    for precision in ("int8", "fp8"):
        (package / f"{precision}.py").write_text(QUANTIZE.format(precision=precision))
    (package.parent / "utils.py").write_text(
        "import onnx\ndef save_onnx(model, path, external):\n    onnx.save(model, path)\n"
    )
    for name, version in versions.items():
        facts = folder / "lib" / f"{name}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder / "lib"}" exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python
