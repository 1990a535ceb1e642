"""The exported stages on ONNX Runtime's CUDA provider: seconds, and distance to float32.

    odise-trt bench cuda-engines --output benchmarks/results/onnxruntime-cuda.json

Every stage is exported in half precision. It runs by IO binding, with inputs and outputs on the GPU, and is
compared with the reference in float32 on the same inputs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from export.cli import Precision
from odise_trt.cli import console
from odise_trt.cli.places import folder
from odise_trt.errors import ExportError

#: The stages, ordered by cost.
STAGES = ("features", "captioner", "clip_pool", "mask_head")


def main(
    output: Annotated[Path, typer.Option(help="The record, JSON.", parser=folder, metavar="PATH")],
    preset: Annotated[str, typer.Option(help="Of the reference.")] = "odise-label",
    weights: Annotated[str, typer.Option(help="random:SEED, demo, or a file.")] = "random:0",
    stage: Annotated[list[str] | None, typer.Option(help="Only this; may be repeated.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the engines.")] = Precision.fp16,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script.")] = "cuda",
    side: Annotated[int, typer.Option(min=64, help="Height and width of the picture.")] = 1024,
    commit: Annotated[str | None, typer.Option(help="What is measured; default: what git says.")] = None,
) -> None:
    """Export, run and compare each stage."""
    from torch import inference_mode

    from benchmarks.gpu.card import card, smi
    from benchmarks.provenance import commit as described
    from benchmarks.record import check_place, write_record
    from export.onnx_export import export_stage
    from export.stages import STAGES as WRAPPERS
    from reference.checkpoint import load_weights
    from reference.device import choose_device
    from reference.names import require_known

    check_place(output, frozenset({"machine", "stages"}))
    for name in stage or ():
        require_known(name, STAGES, "stage", ExportError)
    started, out, chosen = time.perf_counter(), console.output(), choose_device(device)
    model = load_weights(preset, weights).eval().requires_grad_(False)
    record: dict[str, Any] = {
        "machine": card(chosen),
        "commit": commit or described(),
        "preset": preset,
        "weights": weights,
        "precision": precision.value,
        "stages": {},
    }
    for name in stage or STAGES:
        try:
            model.cpu()
            with tempfile.TemporaryDirectory() as work, inference_mode():
                wrapper = WRAPPERS[name](model).eval()
                spec = wrapper.declare(model.preset).at(precision)
                graph = export_stage(wrapper, spec, Path(work), precision=precision)
                exported = time.perf_counter() - started
                model.to(chosen)
                inputs = stage_inputs(model, name, side, chosen)
                row: dict[str, Any] = {
                    "nodes": graph.nodes,
                    "bytes": graph.bytes,
                    "exported_after_seconds": exported,
                }
                row |= run(graph.path, spec, inputs, wrapper(*inputs))
        except Exception as error:
            row = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        record["stages"][name] = row | {"clocks": smi()}
        console.plain(out, f"{time.perf_counter() - started:6.1f} s  {name}: {row}")
        write_record(output, record)
    console.plain(out, f"written: {output}")
    if failed := [name for name, row in record["stages"].items() if "error" in row]:
        raise ExportError(f"not all was measured: {', '.join(failed)}", f"{output} has the reasons")


def stage_inputs(model: Any, name: str, side: int, device: Any) -> tuple[Any, ...]:
    """Return the inputs of a stage in a real run on the photo, float32 on the device."""
    import torch
    from torch.nn import functional as F

    from benchmarks.gpu.sections import PHOTO
    from odise_trt.preprocess import load_image
    from reference.model.windows import extract_windows, join

    pixels = torch.from_numpy(load_image(PHOTO)).permute(2, 0, 1)[None].float().to(device) / 255
    planes = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
    windows, origins = extract_windows(model.pad(planes), model.preset.window)
    if name == "captioner":
        return (windows,)
    condition = model.captioner(windows)
    if name == "features":
        return (windows, *condition)
    pyramid = join(model.features(windows, *condition), origins, side, side)
    if name == "mask_head":
        return pyramid
    clip_side = model.preset.clip.image_size
    clip_image = F.interpolate(planes, size=(clip_side, clip_side), mode="bilinear", align_corners=False)
    return clip_image, model.mask_head(*pyramid).pred_masks


def run(path: Path, spec: Any, inputs: Sequence[Any], expected: Sequence[Any] | Any) -> dict[str, Any]:
    """Measure the seconds of a run with inputs and outputs on the device, and the distance of its outputs."""
    import numpy as np
    import onnxruntime
    import torch

    from benchmarks.gpu.timing import measure

    device = inputs[0].device
    on_gpu = device.type == "cuda"
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"}) if on_gpu else "CPUExecutionProvider"
    begin = time.perf_counter()
    session = onnxruntime.InferenceSession(str(path), providers=[provider])
    opened = time.perf_counter() - begin
    outputs = expected if isinstance(expected, tuple) else (expected,)
    dtypes = {"float16": (torch.float16, np.float16), "float32": (torch.float32, np.float32)}
    binding, kept, results = session.io_binding(), [], []
    for declared, tensor in zip(spec.inputs, inputs, strict=True):
        narrow, element = dtypes[declared.dtype]
        kept.append(tensor.to(narrow).contiguous())
        place = device.type, 0, element, tuple(tensor.shape), kept[-1].data_ptr()
        binding.bind_input(declared.name, *place)
    for declared, tensor in zip(spec.outputs, outputs, strict=True):
        narrow, element = dtypes[declared.dtype]
        results.append(torch.empty(tensor.shape, dtype=narrow, device=device))
        place = device.type, 0, element, tuple(tensor.shape), results[-1].data_ptr()
        binding.bind_output(declared.name, *place)
    if on_gpu:
        torch.cuda.synchronize()
    timed = measure(lambda clock: session.run_with_iobinding(binding), device, repeats=20, seconds=10.0)
    distances = {
        declared.name: float((got.double() - want.double()).norm() / want.double().norm())
        for declared, got, want in zip(spec.outputs, results, outputs, strict=True)
    }
    return timed | {"providers": session.get_providers(), "opened_seconds": opened, "relative_l2": distances}
