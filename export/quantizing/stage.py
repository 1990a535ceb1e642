"""Quantizes the half-precision graph of one stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import onnx_ir as ir

from odise_trt.stage_spec import StageSpec
from reference.alone import alone

from ..builders import Progress
from ..cases import holding_stages
from ..onnx_export import OnnxFile, write_graph
from ..onnx_graph import check_graph
from ..reporter import silent
from ..stages import all_stages
from . import program
from .calibration import collect
from .graph import clean, keep_others, require_as_selected
from .layers import LayerError, layer_errors
from .plan import Quantizing
from .selection import Layer, select

if TYPE_CHECKING:
    from reference.model import ODISE

#: Where the calibration inputs of all stages of a build are, in its folder of graphs.
_SAMPLES = "calibration"
#: The stages whose weights it takes to collect them.
_USED = ("captioner", "features", "mask_head")


@dataclass(frozen=True)
class QuantizedStage:
    """A quantized graph.

    Attributes:
        graph: its files.
        precision_map: what is computed in which precision, for the manifest. Under "layers": every quantized
            layer with its error.
    """

    graph: OnnxFile
    precision_map: Mapping[str, object]


def quantize_stage(
    model: ODISE,
    spec: StageSpec,
    half: OnnxFile,
    precision: str,
    quantizing: Quantizing,
    work: Path,
    progress: Progress = silent,
) -> QuantizedStage:
    """Quantize a graph. Its files are replaced by those of the quantized one.

    Args:
        model: the reference, for the inputs on the calibration pictures.
        spec: the declaration of the stage.
        half: its graph in half precision.
        precision: "int8" or "fp8".
        quantizing: pictures and ModelOpt.
        work: the folder of graphs of this build. Its processes collect the inputs once.
        progress: is told of pictures, of ModelOpt, and of layers.

    Raises:
        ExportError: ModelOpt fails, or gives another graph than was asked for.
        ImageError: a file is no picture.
    """
    source = ir.load(half.path)
    layers = select(spec.name, source.graph, model.preset)
    chosen = [layer for layer in layers if layer.kept is None]
    names = [layer.node for layer in chosen]
    samples = _samples(model, quantizing, work, progress)[spec.name]
    with TemporaryDirectory(dir=half.path.parent) as folder:
        place = Path(folder)
        job = program.Job(
            graph=str(half.path),
            output=str(place / f"modelopt-{half.path.name}"),
            precision=precision,
            nodes=names,
            samples=[str(path) for path in samples],
            external=len(half.files) > 1,
        )
        # How far it is, ModelOpt does not say.
        progress("ModelOpt", 0, 1)
        program.run(quantizing.python, job, place)
        progress("ModelOpt", 1, 1)
        quantized = ir.load(job.output)
        keep_others(quantized.graph, names)
        require_as_selected(source.graph, quantized.graph, names)
        clean(quantized, source)
        written = write_graph(quantized, place / half.path.name)
        errors = layer_errors(half.path, written[0], chosen, samples, progress)
        operators = check_graph(written[0], spec)
        for file in half.files:
            file.unlink()
        files = tuple(file.rename(half.path.with_name(file.name)) for file in written)
    graph = OnnxFile(files[0], files, operators)
    islands = all_stages()[spec.name].islands
    return QuantizedStage(graph, precision_map(precision, layers, errors, islands))


def precision_map(
    precision: str, layers: Sequence[Layer], errors: Sequence[LayerError], islands: Sequence[str]
) -> dict[str, object]:
    """Return what is computed in which precision, as data."""
    kept = Counter(layer.kept for layer in layers if layer.kept)
    return {
        "weights": "float16",
        precision: [f"{len(errors)} of {len(layers)} layers with weights"],
        "float16": [
            *(f"{count} layer{'s' * (count > 1)}: {why}" for why, count in sorted(kept.items())),
            "products of attention",
        ],
        "float32": list(islands),
        "layers": [error.as_data() for error in errors],
    }


def _samples(
    model: ODISE, quantizing: Quantizing, work: Path, progress: Progress
) -> dict[str, tuple[Path, ...]]:
    """Return the inputs of quantized stages. The first process of a build that needs them collects them."""
    stages = [name for name, stage in all_stages().items() if stage.quantized]
    folder = work / _SAMPLES
    done = folder / "done"
    with alone(folder, lambda note: None, "calibration"):
        if not done.is_file():
            with holding_stages(model, _USED):
                collect(model, quantizing.pictures, stages, folder, progress)
            done.touch()
    return {name: tuple(sorted(folder.glob(f"{name}-*.npz"))) for name in stages}
