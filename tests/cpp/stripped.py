"""Bundles for the stand-in whose engines have no weights: see `cpp/tests/stand_in/refitter.hpp`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto

from odise_trt.bundle.bundle import sha256_of
from odise_trt.bundle.manifest import Manifest
from tests.stand_in import bundle as stand_in_bundle

#: Types of what TensorRT has for weights. Shapes and indices stay in the engine.
_WEIGHTS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def weights_of(model: onnx.ModelProto) -> list[str]:
    """Return the names of a graph's weights."""
    return [one.name for one in model.graph.initializer if one.data_type in _WEIGHTS]


def strip(
    source: Path,
    target: Path,
    lacking: Mapping[str, Sequence[str]] | None = None,
    whole: Collection[str] = (),
    unnamed: Collection[str] = (),
    changes: Mapping[str, Callable[[onnx.ModelProto], None]] | None = None,
) -> Path:
    """Write the bundle: engines without weights, beside the graphs that have them.

    Args:
        source: a bundle for the stand-in, whose engines are the graphs.
        target: the folder.
        lacking: stage -> names of more weights that its engine needs, and its graph does not have.
        whole: stages whose engines have their weights all the same.
        unnamed: stages whose graphs are not named in the manifest, so nobody gives their engines weights.
        changes: stage -> what is changed in its graph after the engine was built.
    """
    stand_in_bundle.copy(source, target)
    manifest = Manifest.read(target)
    files, stages = dict(manifest.files), []
    for entry in manifest.stages:
        name, graph = entry.spec.name, target / entry.file
        engine = target / f"{name}.engine"
        model = onnx.load(graph)
        if name not in whole:
            names = weights_of(model)
            kept = [one for one in model.graph.initializer if one.name not in names]
            del model.graph.initializer[:]
            model.graph.initializer.extend(kept)
            note = "\n".join([*names, *(lacking or {}).get(name, ())])
            model.metadata_props.add(key="stand_in.weights", value=note)
        onnx.save(model, engine)
        if change := (changes or {}).get(name):
            changed = onnx.load(graph)
            change(changed)
            graph.unlink()
            onnx.save(changed, graph)
        for path in (engine, graph):
            files[path.name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        weights_from = None if name in unnamed else entry.file
        stages.append(
            replace(entry, file=engine.name, files=(engine.name, *entry.files), weights_from=weights_from)
        )
    tools = {**manifest.tools, "strip-weights": "yes"}
    replace(manifest, stages=tuple(stages), files=files, tools=tools).write(target)
    return target
