"""How long the build of a stage takes, how much memory it needs, and how large its files get: estimates.

The model is fitted to builds of the presets `demo` and `odise-label` on two cores of a server, which others
used as well. Two builds of the same stage there differ by up to `SPREAD`, so times are given as a range.
Memory was measured with one window per parity check (`--parity-windows 1`); what more windows need follows
from the largest tensor of the stage and was not measured. Stages without weights take what they took. Times
in half precision are those of graphs for ONNX Runtime on CUDA; other graphs were not timed.

| odise-label, one window | estimate | measured |
| --- | --- | --- |
| captioner, fp32 | 45 s, 2.1 GB | 33 to 63 s, 2.3 GB |
| captioner, fp16 | 50 s, 2.7 GB | 40 to 76 s |
| features, fp32 | 155 s, 7.2 GB | 138 to 340 s, 7.5 GB |
| features, fp16 | 174 s, 9.1 GB | 178 to 286 s, 9.2 GB |
| mask_head, fp32 | 179 s, 4.3 GB | 181 s, 3.8 GB |
| mask_head, fp16 | 205 s, 4.4 GB | 127 to 257 s |
| clip_pool, fp32 | 46 s, 2.2 GB | 35 to 38 s |
| text_encoder, fp32 | 30 s, 1.9 GB | 27 to 37 s, 1.8 GB |
| engine of features, TensorRT for RTX, fp16 | 142 s, 9.7 GB | 141 s, 9.7 GB |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odise_trt.stage_spec import StageSpec
from reference.preset import Preset

from .stage_work import StageWork

#: A build takes up to so much longer if other programs use the machine, too.
SPREAD = 1.6

#: Of a process that builds: libraries, and the model without its large parameters.
PROCESS_BYTES = 0.8e9

_SECONDS_PER_LEAF = 0.05
_SECONDS_PER_GB = 20.0
#: PyTorch and ONNX Runtime together, on two cores.
_CORE_SECONDS_PER_TFLOP = 4.4
#: Tracing by the rules for half precision is slower.
_HALF = 1.15
_SECONDS_WITHOUT_WEIGHTS = 2.5
_SECONDS_OF_STITCH = 10.0
#: Parity of the mask head compares several scenes at three image sizes, and explains ties.
_MASK_HEAD_SECONDS, _MASK_HEAD_SECONDS_PER_MEGAPIXEL = 11.0, 160.0
_MASK_HEAD_BYTES_PER_PIXEL = 3300
#: Reading the weights of a stage.
_SECONDS_PER_GB_READ = 2.5
#: Writing and comparing what belongs to no stage, and one look at every number of a file of weights.
_SECONDS_OF_BUILD, _SECONDS_PER_GB_CHECKED = 8.0, 1.0

_ENGINE_SECONDS, _ENGINE_SECONDS_PER_LEAF, _ENGINE_SECONDS_PER_GB = 1.3, 0.03, 29.0
#: Times its file: the mapped graph, and copies of the compiler.
_ENGINE_WEIGHTS_IN_MEMORY = 4.8

#: Largest tensors that are there at once, in PyTorch and in ONNX Runtime.
_LARGEST_AT_ONCE, _LARGEST_IN_RUNTIME = 1.5, 5.0
_BYTES_PER_LEAF = 600
_BYTES_WITHOUT_WEIGHTS = 50_000


@dataclass(frozen=True)
class Cost:
    """Estimates for a stage: seconds if nothing else runs, peak bytes of the process, bytes on disk."""

    seconds: float
    peak_bytes: float
    file_bytes: float


def export_cost(
    work: StageWork,
    spec: StageSpec,
    preset: Preset,
    model_bytes: int,
    checks: Sequence[Mapping[str, int]],
    *,
    bytes_per_number: int,
    threads: int,
) -> Cost:
    """Estimate export and parity of a stage; its ONNX file counts all weights that the stage uses.

    Args:
        model_bytes: of the model that is in memory besides the stage. Of a large model nothing is.
        checks: the axis sizes of the comparisons.
        bytes_per_number: 4 for a graph in float32, 2 for one in half precision.
        threads: processors.
    """
    process, numbers = PROCESS_BYTES + model_bytes, sum(work.weights.values())
    if work.leaves <= 1:
        seconds = _SECONDS_OF_STITCH if spec.name == "stitch" else _SECONDS_WITHOUT_WEIGHTS
        return Cost(seconds, process, _BYTES_WITHOUT_WEIGHTS)
    batches = [math.prod(size for name, size in one.items() if _is_batch(spec, name)) for one in checks]
    is_half = bytes_per_number == 2
    slower = _HALF if is_half else 1.0
    seconds = _SECONDS_PER_LEAF * work.leaves + _SECONDS_PER_GB * 4e-9 * numbers
    seconds = slower * seconds + _CORE_SECONDS_PER_TFLOP / threads * 1e-12 * work.flop * sum(batches)
    seconds += _SECONDS_PER_GB_READ * 4e-9 * numbers
    activations = work.largest * max(batches)
    # One after the other: the reference runs, the graph is made, the graph runs. A half copy is traced, and
    # ONNX Runtime makes a float32 one of a half graph for the processor, beside the file that it maps.
    peak = process + max(
        4 * numbers + _LARGEST_AT_ONCE * activations,
        (6 if is_half else 4) * numbers,
        (6 if is_half else 4) * numbers + _LARGEST_IN_RUNTIME * activations,
    )
    if spec.name == "mask_head":
        pixels = preset.short_side**2
        seconds = slower * (_MASK_HEAD_SECONDS + _MASK_HEAD_SECONDS_PER_MEGAPIXEL * 1e-6 * pixels)
        peak += _MASK_HEAD_BYTES_PER_PIXEL * pixels
    return Cost(seconds, peak, bytes_per_number * numbers + _BYTES_PER_LEAF * work.leaves)


def engine_cost(
    work: StageWork, model_bytes: int, bytes_per_number: int, strip_weights: bool = False
) -> Cost:
    """Estimate the build of an engine from a graph (measured with TensorRT for RTX only).

    Engines without weights were not measured. Their files are taken for what others have besides weights.
    """
    numbers = sum(work.weights.values())
    seconds = _ENGINE_SECONDS
    if work.leaves > 1:
        seconds += _ENGINE_SECONDS_PER_LEAF * work.leaves + _ENGINE_SECONDS_PER_GB * 4e-9 * numbers
    peak = PROCESS_BYTES + model_bytes + _ENGINE_WEIGHTS_IN_MEMORY * bytes_per_number * numbers
    return Cost(seconds, peak, (0 if strip_weights else bytes_per_number * numbers) + 5_000_000)


def other_seconds(model_bytes: int) -> float:
    """Estimate the seconds of a build that belong to no stage."""
    return _SECONDS_OF_BUILD + _SECONDS_PER_GB_CHECKED * 1e-9 * model_bytes


def _is_batch(spec: StageSpec, name: str) -> bool:
    return spec.axis(name).multiple == 1
