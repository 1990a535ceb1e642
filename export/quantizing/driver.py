"""Quantizes one graph with NVIDIA ModelOpt. Run by `program` in ModelOpt's own environment, never imported.

    python driver.py --versions
    python driver.py JOB.json

The job has the keys of `program.Job`. The result is a file; everything that is printed is a log.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from typing import Any

PACKAGES = ("nvidia-modelopt", "onnx", "onnxruntime", "onnx-graphsurgeon", "torch", "numpy")


def versions() -> dict[str, str | None]:
    """Return the versions of what decides a graph. None: not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if found["onnxruntime"] is None:
        found["onnxruntime"] = next(
            (one.version for one in metadata.distributions() if one.name == "onnxruntime-gpu"), None
        )
    return found


def samples(paths: list[str]) -> Any:
    """Return a reader of calibration inputs: one file at a time, so that memory holds one sample."""
    import numpy as np
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Samples(CalibrationDataReader):
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> Any:
            path = next(self._waiting, None)
            return None if path is None else self._read(path)

        def get_first(self) -> Any:
            return self._read(paths[0])

        def rewind(self) -> None:
            self._waiting = iter(paths)

        def _read(self, path: str) -> Any:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}

    return Samples()


def main(arguments: list[str]) -> None:
    """Print versions, or quantize the graph of a job."""
    if arguments == ["--versions"]:
        sys.stdout.write(json.dumps(versions()))
        return
    with open(arguments[0], encoding="utf-8") as file:
        job = json.load(file)
    from modelopt.onnx import utils
    from modelopt.onnx.quantization import fp8, int8

    # Not `modelopt.onnx.quantization.quantize`: it first looks for attention in the graph, takes some of our
    # linear layers for its products, and leaves them out.
    quantize = {"int8": int8.quantize, "fp8": fp8.quantize}[job["precision"]]
    model = quantize(
        onnx_path=job["graph"],
        # Ranges are largest magnitudes. ModelOpt's fp8 is right for these only, and they need little memory.
        calibration_method="max",
        calibration_data_reader=samples(job["samples"]),
        calibration_eps=["cpu"],
        op_types_to_quantize=["Conv", "MatMul"],
        # Names are patterns there, which must match at the beginning.
        nodes_to_quantize=[f"{re.escape(name)}$" for name in job["nodes"]],
        nodes_to_exclude=[],
        # What is not quantized stays in the precision that the graph has.
        high_precision_dtype="fp32",
        enable_gemv_detection_for_trt=False,
        passes=[],
        intermediate_generated_files=[],
        use_external_data_format=job["external"],
    )
    utils.save_onnx(model, job["output"], job["external"])


if __name__ == "__main__":
    main(sys.argv[1:])
