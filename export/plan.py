"""Plans a build: the bundles to make, and whether a bundle has to be built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import odise_trt
from odise_trt.backends.registry import BACKENDS, DEFAULT_BACKEND, BackendEntry, find_backend, resolve
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.bundle.rebuild import STRIP_WEIGHTS
from odise_trt.errors import BundleError, ExportError
from odise_trt.package_versions import package_version
from odise_trt.stage_spec import PRECISIONS
from reference.checkpoint import WeightsDescription
from reference.model.deformable_attention import Lowering
from reference.names import require_known
from reference.preset import find_preset

from .builders import Builder, open_builder
from .builders.compatibility import chosen
from .finish import GRAPHS
from .onnx_export import DEFAULT_OPSET
from .quantizing.gpus import require_gpu
from .quantizing.plan import Quantizing, plan_quantizing
from .sources import source_digest
from .stage_key import stage_key
from .stages import OPTIONAL_STAGES, STAGES, all_stages
from .stages.image_sizes import ImageSize, image_sizes

#: Packages whose versions may change a graph or an engine.
_TOOLS = ("torch", "diffusers", "open_clip_torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime")

#: Entry among the tools of a manifest, and option of a build: the most windows in a run.
MAX_WINDOWS = "max-windows"
#: The same: the sizes of pictures.
IMAGE_SIZES = "image-sizes"


@dataclass(frozen=True)
class Request:
    """The options of a build.

    Attributes:
        preset: name of a preset.
        weights: "random:SEED", "demo", or a safetensors file.
        backends: one bundle is built for each.
        precision: one of `PRECISIONS`. None: the default of the backend.
        stages: names of stages. Empty: all but the optional ones.
        extra: names of optional stages to build besides `stages`.
        output: the folder that bundles are put into.
        sampling: how deformable attention samples. None: as the backend does it best.
        compute_capabilities: GPUs to build for ahead of time, like "8.9" (TensorRT for RTX). One bundle is
            for all of them.
        targets: the same with one bundle for each. Backends that build for this machine only have one bundle.
        parity_limits: upper bounds of axes in parity checks, if memory is short.
        force: build even bundles that are up to date.
        jobs: processes to export with, at most one per export. Each needs the memory of a stage.
        onnx_only: build bundles of graphs; `export.finish` builds their engines elsewhere.
        max_windows: the most windows in a run of a stage. None: as many as the stages take.
        image_sizes: the only sizes of pictures, with profiles for each. Empty: any.
        anyway: build even if memory or disk are estimated not to suffice.
        calibration: folder of pictures that int8 and fp8 measure ranges on, see `export.quantizing`.
        modelopt: the Python of an environment with NVIDIA ModelOpt, for int8 and fp8.
        strip_weights: engines have no weights, they take those of their graphs when they are opened.
        version_compatible: engines run in later versions of TensorRT, too.
        hardware_compatible: engines run on Ampere and all later GPUs.
    """

    preset: str
    weights: str
    backends: tuple[str, ...] = (DEFAULT_BACKEND,)
    precision: str | None = None
    stages: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    output: Path = Path("engines")
    sampling: Lowering | None = None
    opset: int = DEFAULT_OPSET
    compute_capabilities: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    parity_limits: Mapping[str, int] | None = None
    force: bool = False
    jobs: int = 1
    onnx_only: bool = False
    max_windows: int | None = None
    image_sizes: tuple[ImageSize, ...] = ()
    anyway: bool = False
    calibration: Path | None = None
    modelopt: Path | None = None
    strip_weights: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False

    @property
    def compatible(self) -> tuple[str, ...]:
        """What engines are compatible with besides this machine, see `builders.compatibility`."""
        return chosen(self.version_compatible, self.hardware_compatible)

    def stage_names(self) -> tuple[str, ...]:
        """The requested stages, in the order they run.

        Raises:
            ExportError: there is no such stage.
        """
        for name in self.stages:
            require_known(name, all_stages(), "stage", ExportError)
        for name in self.extra:
            require_known(name, OPTIONAL_STAGES, "stage", ExportError)
        chosen = {*(self.stages or STAGES), *self.extra}
        return tuple(name for name in all_stages() if name in chosen)


@dataclass(frozen=True)
class Target:
    """One bundle to build.

    Attributes:
        entry: the declaration of the backend.
        backend: its entries in the manifest: name, version, and what engines are tied to.
        precision: one of `PRECISIONS`.
        sampling: how deformable attention samples.
        folder: folder of the bundle.
        builder: makes the engines. None: the ONNX files are the engines.
        quantizing: how stages are quantized. None: none is.
    """

    entry: BackendEntry
    backend: Mapping[str, Any]
    precision: str
    sampling: Lowering
    folder: Path
    builder: Builder | None = None
    quantizing: Quantizing | None = None

    @property
    def name(self) -> str:
        """Name of the backend."""
        return self.entry.name

    @property
    def strips_weights(self) -> bool:
        """Whether its engines have no weights, and its graphs stay in the bundle for them."""
        return self.builder is not None and self.builder.strips_weights

    @property
    def graph(
        self,
    ) -> tuple[str, frozenset[str], frozenset[str], str | None, Lowering, Quantizing | None]:
        """What graphs of a stage differ in, as `Task` has it. Bundles that agree in it share the export."""
        compared_in = self.name if self.entry.checks else None
        entry = self.entry
        return self.precision, entry.lacks, entry.fuses, compared_in, self.sampling, self.quantizing


def plan(request: Request) -> tuple[Target, ...]:
    """Return the bundles of a request. This reports missing backends and GPUs before hours of work.

    Raises:
        BackendError: a backend is unknown or not installed, does not find the GPU or the arithmetic it needs,
            or does not build for a compute capability.
        ExportError: a backend or a GPU has no engines in the requested precision, or ModelOpt is missing.
    """
    together = tuple(dict.fromkeys(request.compute_capabilities))
    each = [(number,) for number in dict.fromkeys(request.targets)]
    return tuple(
        _target(entry, request, capabilities)
        for entry in map(find_backend, dict.fromkeys(request.backends))
        for capabilities in (each if each and entry.builds_ahead else [together])
    )


def _target(entry: BackendEntry, request: Request, capabilities: tuple[str, ...]) -> Target:
    precision = request.precision or entry.precision
    if precision not in PRECISIONS:
        raise ExportError(f"there is no precision {precision!r}", f"precisions: {', '.join(PRECISIONS)}")
    if precision not in entry.precisions:
        others = " or ".join(
            f"--backend {one.name}" for one in BACKENDS.values() if precision in one.precisions
        )
        raise ExportError(
            f"{entry.name} has no engines in {precision}, it has {' and '.join(entry.precisions)}",
            f"give --precision {entry.precision}, or for {precision} {others}",
        )
    sampling = request.sampling or cast(Lowering, entry.sampling)
    quantizing = plan_quantizing(precision, request.stage_names(), request.calibration, request.modelopt)
    if request.onnx_only:
        # The backend need not be installed here, and its version is that of the machine with the engines.
        name = f"{request.preset}-{entry.name}-{precision}{GRAPHS}"
        folder = request.output / name
        return Target(entry, {"name": entry.name}, precision, sampling, folder, quantizing=quantizing)
    builder = open_builder(entry, capabilities, request.strip_weights, request.compatible)
    facts = _facts(entry, precision) if builder is None else builder.facts
    require_gpu(precision, facts)
    architectures = [f"sm{number.replace('.', '')}" for number in facts.get("compute_capability", ())]
    name = "-".join([request.preset, entry.name, precision, *architectures])
    return Target(entry, facts, precision, sampling, request.output / name, builder, quantizing)


def _facts(entry: BackendEntry, precision: str) -> dict[str, Any]:
    """Return the manifest's entries of a backend whose engines are the exported files."""
    facts = {"name": entry.name, "version": entry.load().__version__}
    return facts if entry.ties is None else {**facts, **resolve(entry.ties)(entry.name, precision)}


def built_for(manifest: Manifest) -> tuple[ImageSize, ...]:
    """Return the only sizes of pictures that a bundle is for. Empty: any."""
    sizes = manifest.tools.get(IMAGE_SIZES, "")
    # Stages of different builds may differ: "640x480 and 1920x1080".
    return () if not sizes or " and " in sizes else image_sizes([sizes])


def tools(request: Request, target: Target) -> dict[str, str]:
    """Return the versions, options and code that a bundle is built with, for its manifest."""
    limit = {} if request.max_windows is None else {MAX_WINDOWS: str(request.max_windows)}
    if request.image_sizes:
        limit[IMAGE_SIZES] = ",".join(map(str, request.image_sizes))
    if target.strips_weights:
        limit[STRIP_WEIGHTS] = "yes"
    return {
        "odise-trt": odise_trt.__version__,
        **_versions_and_options(request, target),
        **limit,
        **({} if target.quantizing is None else target.quantizing.options()),
        "source": source_digest(),
    }


def _versions_and_options(request: Request, target: Target) -> dict[str, str]:
    versions = {name: package_version(name) for name in _TOOLS}
    return {**versions, "opset": str(request.opset), "sampling": target.sampling}


def stage_keys(request: Request, target: Target, weights: WeightsDescription) -> dict[str, str]:
    """Return the keys of the requested stages: name -> key, see `export.stage_key`.

    Args:
        weights: the weights of the request, as from `describe_weights`.
    """
    preset = find_preset(request.preset)
    build: dict[str, object] = {
        "weights": weights["sha256"],
        "backend": dict(target.backend),
        "lacks": sorted(target.entry.lacks),
        "fuses": sorted(target.entry.fuses),
        "compared in": target.name if target.entry.checks else None,
        "tools": _versions_and_options(request, target),
    }
    if target.strips_weights:
        build["strip weights"] = True
    quantized = {} if target.quantizing is None else {"quantizing": target.quantizing.facts()}
    return {
        name: stage_key(
            name,
            preset,
            target.precision,
            {**build, **(quantized if all_stages()[name].quantized else {})},
            request.max_windows,
            request.image_sizes,
        )
        for name in request.stage_names()
    }


def up_to_date(target: Target, request: Request, weights: WeightsDescription) -> bool:
    """Whether the target's folder has a complete bundle, and a new build would give the same one.

    Args:
        weights: the weights of the request, as from `describe_weights`.
    """
    manifest = existing(target, request, weights)
    if manifest is None or request.force or dict(manifest.tools) != tools(request, target):
        return False
    have = {entry.spec.name: entry.key for entry in manifest.stages}
    if any(have.get(name) != key for name, key in stage_keys(request, target, weights).items()):
        return False
    # Sizes are compared first: if a file is missing, the contents need not be read.
    bundle = Bundle(target.folder, manifest)
    return not bundle.damage(verify="size") and not bundle.damage()


def existing(
    target: Target, request: Request, weights: WeightsDescription, folder: Path | None = None
) -> Manifest | None:
    """Return the manifest of the bundle of the same model, weights and backend, if there is one.

    Args:
        folder: where to look. None: in the folder of the target.
    """
    try:
        manifest = Manifest.read(folder or target.folder)
    except BundleError:
        return None
    same = (
        manifest.preset == request.preset
        and manifest.precision == target.precision
        and manifest.weights.get("sha256") == weights["sha256"]
        and dict(manifest.backend) == dict(target.backend)
    )
    return manifest if same else None
