"""One exported stage in one backend on the device: seconds, with and without CUDA graphs, and distance."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional as F

from export.onnx_export import export_stage
from export.stages import STAGES as WRAPPERS
from odise_trt.backends import open_backend
from odise_trt.backends.registry import BACKENDS, find_backend, resolve
from odise_trt.errors import BackendError
from odise_trt.preprocess import load_image
from reference.model.deformable_attention import Lowering
from reference.model.windows import extract_windows, join

from .engine_runs import Measured
from .sections import PHOTO, Bench


def engine(bench: Bench, backend: str, stage: str) -> Iterator[tuple[str, Any]]:
    """Export a stage, build its engine, run it, and compare it with the reference in float32.

    Yields:
        "BACKEND PRECISION STAGE" and, on a GPU, "..., CUDA graphs".

    Raises:
        BackendError: the backend is not installed, has no device, or does not run on this GPU.
        ExportError: the stage cannot be exported or built.
    """
    entry = find_backend(backend)
    if entry.runs is None:
        can = [name for name, one in BACKENDS.items() if one.runs]
        raise BackendError(f"{backend} does not run on tensors of a device", f"these do: {', '.join(can)}")
    if bench.precision not in entry.precisions:
        raise BackendError(
            f"{backend} has no engines in {bench.precision}", f"give --precision {entry.precision}"
        )
    run = resolve(entry.runs)
    on_gpu = bench.device.type == "cuda"
    # Whether the backend runs here is asked before minutes of export.
    device = "cuda" if entry.needs_gpu else str(bench.device)
    open_backend(backend, precision=bench.precision, device=device).close()
    with tempfile.TemporaryDirectory() as work, torch.inference_mode():
        model = bench.model
        inputs = stage_inputs(model, stage, bench.sizes[0][0], bench.device)
        wrapper = WRAPPERS[stage](model).eval()
        outputs = wrapper(*inputs)
        expected = outputs if isinstance(outputs, tuple) else (outputs,)
        spec = wrapper.declare(model.preset).at(bench.precision)
        begin = time.perf_counter()
        model.mask_head.use_lowering(cast(Lowering, entry.sampling))
        graph = export_stage(
            WRAPPERS[stage](model.cpu()).eval(),
            spec,
            Path(work),
            precision=bench.precision,
            lacks=entry.lacks,
            fuses=entry.fuses,
        )
        exported = time.perf_counter() - begin
        measured = Measured(spec, inputs, expected, bench.seconds)
        for graphs in (False, True) if on_gpu else (False,):
            name = f"{backend} {bench.precision} {stage}{', CUDA graphs' if graphs else ''}"
            try:
                found = run(entry, graph.path, measured, graphs)
            except Exception as error:
                if not graphs:
                    raise
                found = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
            yield name, found | {"nodes": graph.nodes, "exported_seconds": exported}


def stage_inputs(model: Any, name: str, side: int, device: Any) -> tuple[Any, ...]:
    """Return the inputs of a stage in a real run on the photo, float32 on the device."""
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
