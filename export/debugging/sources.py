"""The stage to look at: of a preset, exported now, or of a bundle."""

from __future__ import annotations

from pathlib import Path

from odise_trt.bundle import Bundle
from odise_trt.errors import ExportError
from reference.checkpoint import load_weights
from reference.model import ODISE
from reference.names import require_known

from ..onnx_export import OnnxFile
from ..recheck import weights_of
from ..stages import all_stages
from .precision import HALF, LayerErrors, layer_errors


def find(stage: str, preset: str | None, weights: str | None, bundle: Path | None) -> LayerErrors:
    """Compare the nodes of a stage, see `export.debugging.precision.layer_errors`.

    Args:
        stage: its name.
        preset: the model. None: that of the bundle, or demo.
        weights: as for a build. None: those of the bundle, or demo.
        bundle: an fp16 bundle of graphs. None: the graph is exported now.

    Raises:
        ExportError: there is no such stage, it computes in float32, or `preset` comes with a bundle.
        BundleError: the folder is no bundle, or a file was changed.
        WeightsError, PresetError: there is no such model.
    """
    require_known(stage, all_stages(), "stage", ExportError)
    if bundle is None:
        name = preset or "demo"
        if weights is None and name not in ("demo", "demo-caption"):
            raise ExportError(f"preset {name} needs --weights", "give random:SEED, or a safetensors file")
        return _compare(stage, load_weights(name, weights or "demo"), None)
    opened = Bundle.open(bundle)
    if preset not in (None, opened.manifest.preset):
        raise ExportError(f"{bundle} is of preset {opened.manifest.preset}", "leave --preset out")
    entries = {entry.spec.name: entry for entry in opened.manifest.stages}
    require_known(stage, entries, "stage", ExportError)
    entry = entries[stage]
    if (entry.precision or opened.manifest.precision) != HALF or not entry.file.endswith(".onnx"):
        raise ExportError(
            f"{stage} of {bundle} is no fp16 graph",
            "leave --bundle out: the graph is exported then, as for an engine",
        )
    model = load_weights(opened.manifest.preset, weights_of(opened, weights))
    files = tuple(opened.folder / name for name in entry.files)
    return _compare(stage, model, OnnxFile(opened.folder / entry.file, files, {}))


def _compare(stage: str, model: ODISE, graph: OnnxFile | None) -> LayerErrors:
    return layer_errors(all_stages()[stage](model).eval(), model, graph=graph)
