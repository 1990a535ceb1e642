"""A bundle of stand-in engines, made from one for ONNX Runtime without exporting anything."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx import load

from odise_trt.backends import cuda as cuda_module
from odise_trt.bundle.bundle import sha256_of
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest, StageEntry

from . import tensorrt
from .tensorrt import Machine


def make(
    source: Path,
    target: Path,
    name: str = "tensorrt",
    stripped: bool = False,
    host_code: bool = False,
    **changes: Any,
) -> Path:
    """Write the bundle. Its engines read the ONNX files of `source`. `changes`: fields of the manifest.

    Args:
        stripped: engines have no weights. They take those of graphs in the bundle.
        host_code: engines bring a lean runtime, if they are not stripped.
    """
    manifest = Manifest.read(source)
    target.mkdir(parents=True)
    for file in (CONSTANTS, TOKENIZER):
        shutil.copyfile(source / file, target / file)
    stages: list[StageEntry] = []
    for entry in manifest.stages:
        file = f"{entry.spec.name}.engine"
        onnx = (source / entry.file).resolve()
        half = manifest.precision == "fp16"
        if not stripped:
            (target / file).write_bytes(tensorrt.engine_file(onnx, entry.spec, half, host_code=host_code))
            stages.append(replace(entry, file=file, files=(file,)))
            continue
        weights = [one.name for one in load(onnx, load_external_data=False).graph.initializer]
        gone = onnx.with_name("gone.onnx")
        (target / file).write_bytes(tensorrt.engine_file(gone, entry.spec, half, weights))
        for needed in entry.files:
            shutil.copyfile(source / needed, target / needed)
        stages.append(replace(entry, file=file, files=(file, *entry.files), weights_from=entry.file))
    files: Mapping[str, Any] = {
        path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size} for path in target.iterdir()
    }
    backend = {"name": name, "version": tensorrt.VERSION}
    made = replace(manifest, backend=backend, stages=tuple(stages), files=files)
    replace(made, **changes).write(target)
    return target


def copy(source: Path, target: Path, **changes: Any) -> Path:
    """Copy a bundle, with other fields of the manifest. Its files are links to the same content."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.name != MANIFEST:
            (target / path.name).symlink_to(path.resolve())
    replace(Manifest.read(source), **changes).write(target)
    return target


def install(monkeypatch: Any, machine: Machine) -> Machine:
    """Put the stand-in in the place of `tensorrt` and CUDA."""
    import sys

    from odise_trt.backends import tensorrt as backend

    monkeypatch.setitem(sys.modules, "tensorrt", machine.module())
    monkeypatch.setattr(backend, "open_cuda", machine.cuda)
    monkeypatch.setattr(cuda_module, "open_cuda", machine.cuda)
    return machine
