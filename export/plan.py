"""What is to be built, and everything that decides whether it has to be built again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odise_trt
from odise_trt.backends import BACKENDS, host_os
from odise_trt.backends.cuda import open_cuda
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import BackendError, BundleError, ExportError
from odise_trt.package_versions import package_version
from reference.checkpoint import describe_weights
from reference.model.deformable_attention import Lowering
from reference.preset import PRESETS, Preset

from .builders.tensorrt import capability_names, load_flavour
from .names import require_known
from .onnx_export import DEFAULT_OPSET
from .stages import STAGES

#: Half precision is what TensorRT is for; on a CPU it is slower than single.
DEFAULT_PRECISION = {"onnxruntime": "fp32", "tensorrt": "fp16", "tensorrt_rtx": "fp16"}
#: Packages whose version may change a graph or an engine.
_TOOLS = ("torch", "diffusers", "open_clip_torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
#: Code that decides what a bundle holds.
_SOURCES = (
    "export/**/*.py",
    "reference/**/*.py",
    "odise_trt/bundle/stage_spec.py",
    "odise_trt/bundle/manifest.py",
    "odise_trt/vocabulary/*.py",
    "odise_trt/vocabularies/*",
)
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Request:
    """What a build is asked for.

    Attributes:
        preset: name of a preset.
        weights: "random:SEED", "demo", or a safetensors file.
        backends: one bundle is built for each.
        precision: "fp32" or "fp16"; None: what suits the backend.
        stages: names of stages; empty: all.
        output: the folder that bundles are put into.
        sampling: how deformable attention samples.
        compute_capabilities: GPUs to build for ahead of time, like "8.9" (TensorRT for RTX).
        parity_limits: upper bounds of axes in parity checks, where memory is short.
        force: build even what is up to date.
        jobs: processes to export with, as far as there are exports; each needs the memory of a whole model.
    """

    preset: str
    weights: str
    backends: tuple[str, ...] = ("onnxruntime",)
    precision: str | None = None
    stages: tuple[str, ...] = ()
    output: Path = Path("engines")
    sampling: Lowering = "gather"
    opset: int = DEFAULT_OPSET
    compute_capabilities: tuple[str, ...] = ()
    parity_limits: Mapping[str, int] | None = None
    force: bool = False
    jobs: int = 1

    def stage_names(self) -> tuple[str, ...]:
        """The stages asked for, in the order they run.

        Raises:
            ExportError: there is no such stage.
        """
        for name in self.stages:
            require_known(name, STAGES, "stage")
        return tuple(name for name in STAGES if not self.stages or name in self.stages)


@dataclass(frozen=True)
class Target:
    """One bundle to build.

    Attributes:
        backend: what the manifest says of it: name, version, and what engines are tied to.
        precision: "fp32" or "fp16".
        folder: where the bundle goes.
        flavour: the TensorRT module; None for ONNX Runtime.
    """

    backend: Mapping[str, Any]
    precision: str
    folder: Path
    flavour: Any = None

    @property
    def name(self) -> str:
        """Name of the backend."""
        return str(self.backend["name"])


def find_preset(name: str) -> Preset:
    """A preset by its name.

    Raises:
        ExportError: there is none.
    """
    require_known(name, PRESETS, "preset")
    return PRESETS[name]


def plan(request: Request) -> tuple[Target, ...]:
    """The bundles a request asks for; what is missing is found here, before hours of work.

    Raises:
        BackendError: a backend is unknown or not installed, finds no GPU it needs, or does not build for
            a compute capability.
    """
    targets = []
    for name in dict.fromkeys(request.backends):
        if name not in BACKENDS:
            raise BackendError(f"there is no backend {name!r}", f"backends: {', '.join(BACKENDS)}")
        precision = request.precision or DEFAULT_PRECISION[name]
        if precision not in ("fp32", "fp16"):
            raise ExportError(f"there is no precision {precision!r}", "precisions: fp32, fp16")
        flavour = None if name == "onnxruntime" else load_flavour(name)
        facts = _backend_facts(name, flavour, tuple(dict.fromkeys(request.compute_capabilities)))
        architectures = [f"sm{number.replace('.', '')}" for number in facts.get("compute_capability", ())]
        folder = "-".join([request.preset, name, precision, *architectures])
        targets.append(Target(facts, precision, request.output / folder, flavour))
    return tuple(targets)


def tools(request: Request) -> dict[str, str]:
    """Versions, options and code that a bundle is built with, for its manifest."""
    versions = {name: package_version(name) for name in _TOOLS}
    options = {"opset": str(request.opset), "sampling": request.sampling}
    return {"odise-trt": odise_trt.__version__, **versions, **options, "source": _source_digest()}


def up_to_date(target: Target, request: Request) -> bool:
    """Whether the target's folder holds a whole bundle that would come out the same again."""
    manifest = existing(target, request)
    if manifest is None or request.force or dict(manifest.tools) != tools(request):
        return False
    have = {entry.spec.name for entry in manifest.stages}
    if not have.issuperset(request.stage_names()):
        return False
    # Sizes first: the content of a bundle that lacks a file need not be read.
    bundle = Bundle(target.folder, manifest)
    return not bundle.damage(verify="size") and not bundle.damage()


def existing(target: Target, request: Request) -> Manifest | None:
    """The manifest of a bundle of the same model and weights for the same backend, if there is one."""
    try:
        manifest = Manifest.read(target.folder)
    except BundleError:
        return None
    weights = describe_weights(find_preset(request.preset), request.weights)
    same = (
        manifest.preset == request.preset
        and manifest.precision == target.precision
        and manifest.weights.get("sha256") == weights["sha256"]
        and dict(manifest.backend) == dict(target.backend)
    )
    return manifest if same else None


def _backend_facts(name: str, flavour: Any, capabilities: Sequence[str]) -> dict[str, Any]:
    if name == "onnxruntime":
        return {"name": name, "version": package_version("onnxruntime")}
    facts = {"name": name, "version": flavour.__version__, "os": host_os()}
    ahead = capability_names(flavour)
    if ahead:
        if unknown := [number for number in capabilities if number not in ahead]:
            raise BackendError(
                f"{name} does not build for compute capability {', '.join(unknown)}",
                f"it builds for {', '.join(ahead)}",
            )
        return {**facts, "compute_capability": list(capabilities)}
    gpu = open_cuda().device
    if set(capabilities) - {gpu.compute_capability}:
        raise BackendError(
            f"{name} builds for the GPU of this machine only, {gpu.name} ({gpu.compute_capability})",
            "leave --compute-capability out, or use --backend tensorrt_rtx",
        )
    return {
        **facts,
        "compute_capability": [gpu.compute_capability],
        "gpu": gpu.name,
        "driver": gpu.driver,
    }


def _source_digest() -> str:
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_ROOT.glob(pattern)):
            if path.is_file():
                digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
