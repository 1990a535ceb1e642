"""Checks of the options of a build, before any work. An option without effect is an error."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from odise_trt.backends.registry import find_backend
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.errors import ExportError, OutputError
from odise_trt.stage_spec import Axis
from reference.names import EMPTY
from reference.preset import Preset, find_preset

from .builders import AHEAD
from .builders.compatibility import options_of, require_compatible
from .onnx_export import require_opset
from .plan import Request
from .quantizing.plan import check_options
from .stages import all_stages
from .stages.image_sizes import ImageSize


def check(request: Request) -> Preset:
    """Check every option of a build, and return its preset.

    Raises:
        PresetError: there is no such preset.
        ExportError: an option is empty, unknown, out of range, or without effect.
        BackendError: a backend has no engines that are compatible with others.
        OutputError: the output folder is itself a bundle.
    """
    preset, names = find_preset(request.preset), request.stage_names()
    if not request.weights.strip():
        raise ExportError("an empty value was given for --weights", EMPTY)
    require_opset(request.opset)
    if (request.output / MANIFEST).is_file():
        place = request.output.resolve()
        raise OutputError(
            f"{place} is a bundle; --output is the folder that bundles are put into",
            f"give --output {shlex.quote(str(place.parent))}",
        )
    if request.jobs < 1:
        raise ExportError(f"there are no {request.jobs} jobs", "give --jobs 1 or more")
    _check_gpus(request)
    precisions = [request.precision or find_backend(name).precision for name in request.backends]
    check_options(precisions, names, request.calibration, request.modelopt)
    if request.image_sizes:
        _check_image_sizes(preset, names)
    if request.max_windows is not None:
        _check_limit("--max-windows", "windows", request.max_windows, _axes(preset, names), names)
    axes = _axes(preset, names, request.max_windows, request.image_sizes)
    for name, limit in (request.parity_limits or {}).items():
        _check_limit(f"--parity-{name}", name, limit, axes, names)
    return preset


def _check_gpus(request: Request) -> None:
    """Raise ExportError if an option about GPUs or engines has no effect."""
    if request.onnx_only:
        for entry in map(find_backend, request.backends):
            if entry.builds is None:
                raise ExportError(
                    f"--onnx-only does nothing for {entry.name}: its bundles have graphs only", "leave it out"
                )
        if request.compute_capabilities or request.targets:
            option = "--target" if request.targets else "--compute-capability"
            raise ExportError(
                f"--onnx-only builds no engines, for no {option}",
                "give --compute-capability to odise-trt finish",
            )
    if request.strip_weights:
        _check_engines(request, "--strip-weights", "could leave weights out")
    if request.compatible:
        _check_engines(request, options_of(request.compatible), "could be compatible")
        # Before any backend is loaded.
        for entry in map(find_backend, request.backends):
            if entry.builds is not None:
                require_compatible(entry, request.compatible, request.strip_weights)
    if request.compute_capabilities and all(find_backend(name).builds is None for name in request.backends):
        raise ExportError(
            f"--compute-capability does nothing for {', '.join(request.backends)}",
            f"leave it out, or build for another backend: {AHEAD}",
        )
    if request.targets and request.compute_capabilities:
        raise ExportError(
            "--target builds one bundle for each GPU, --compute-capability one for all of them",
            "give one of them",
        )
    if request.targets and not any(find_backend(name).builds_ahead for name in request.backends):
        raise ExportError(f"--target does nothing for {', '.join(request.backends)}", f"add {AHEAD}")


def _check_engines(request: Request, option: str, what: str) -> None:
    """Raise ExportError unless engines are built that an option is for."""
    if request.onnx_only:
        raise ExportError(
            f"--onnx-only builds no engines that {what}",
            f"give {option} to odise-trt finish",
        )
    if all(find_backend(name).builds is None for name in request.backends):
        raise ExportError(
            f"{option} does nothing for {', '.join(request.backends)}: its bundles have graphs only",
            "leave it out, or build for tensorrt or tensorrt_rtx",
        )


def _check_image_sizes(preset: Preset, names: Iterable[str]) -> None:
    """Raise ExportError unless a stage has an axis that follows from the size of a picture."""
    follow, known = ImageSize(1, 1).axes(preset).keys(), all_stages()
    if all(follow.isdisjoint(axis.name for axis in known[name].declare(preset).axes) for name in names):
        raise ExportError(
            f"--image-sizes does nothing for {', '.join(names)}: they take pictures of any size",
            "leave it out",
        )


def _axes(
    preset: Preset,
    names: Iterable[str],
    max_windows: int | None = None,
    images: Sequence[ImageSize] = (),
) -> list[Axis]:
    """Return the axes of the stages whose sizes do not depend on each other. Limits are for these."""
    known = all_stages()
    chosen = [known[name] for name in names if not known[name].sizes(preset)]
    return [axis for stage in chosen for axis in stage.spec(preset, "fp32", max_windows, images).axes]


def _check_limit(option: str, name: str, limit: int, axes: Iterable[Axis], stages: Iterable[str]) -> None:
    axes = [axis for axis in axes if axis.name == name]
    if not axes:
        raise ExportError(f"{option} does nothing for {', '.join(stages)}: no {name} go in", "leave it out")
    least, most = min(axis.minimum for axis in axes), max(axis.maximum for axis in axes)
    if not least <= limit <= most:
        raise ExportError(
            f"{option} {limit} is out of range: the stages take {least} to {most} {name}",
            f"give {least} to {most}; left out, it is {most}",
        )
