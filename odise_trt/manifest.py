"""The manifest of a bundle: what it holds, how it was built, and how exact it is.

`export` writes it, the runtime reads it; both go through these dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import BundleError
from .stage import StageSpec

FORMAT = 1
MANIFEST = "manifest.json"
CONSTANTS = "constants.npz"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class ModelSpec:
    """What the runtime has to know of the model around the engines.

    Attributes:
        kind: "label" (null embedding says "nothing") or "caption" (binary foreground logits do).
        short_side, max_side: the shorter side of an image becomes `short_side`, but the longer at most
            `max_side`.
        divisor: images are zero-padded at the bottom and right to a multiple of this.
        window: side of the square windows the diffusion features are taken from.
        num_queries, mask_embed_dim, clip_dim: Q, and the widths of `mask_embed` and `clip_mask_embed`.
        clip_image_size: side of the whole image as CLIP sees it.
        context_length: tokens per text.
        category_prompt: template of the texts compared with `mask_embed`; None: the bare names.
        clip_prompt: template of the texts compared with `clip_mask_embed`.
        train_labels: training categories with their synonyms; a category sharing a name takes `alpha`.
        alpha, beta: weight of CLIP in the geometric mean for seen and unseen categories.
        object_mask_threshold, overlap_threshold, topk_per_image: post-processing (official values).
    """

    kind: str
    short_side: int
    max_side: int
    divisor: int
    window: int
    num_queries: int
    mask_embed_dim: int
    clip_dim: int
    clip_image_size: int
    context_length: int
    category_prompt: str | None
    clip_prompt: str
    train_labels: tuple[tuple[str, ...], ...]
    alpha: float
    beta: float
    object_mask_threshold: float = 0.0
    overlap_threshold: float = 0.8
    topk_per_image: int = 100


@dataclass(frozen=True)
class StageEntry:
    """One stage of a bundle.

    Attributes:
        spec: the declaration, at the bundle's precision.
        file: the file a backend opens; `files` names every file the stage needs (external data too).
        onnx_sha256: hash of the ONNX graph with its external data, which an engine was built from.
        build_seconds, peak_memory_bytes: what building took.
    """

    spec: StageSpec
    file: str
    files: tuple[str, ...]
    onnx_sha256: str
    build_seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Parity:
    """One comparison with the fp32 reference.

    Attributes:
        check: what ran, "onnx" (ONNX Runtime on the exported graph) or "network" (a parsed network).
        sizes: axis sizes of the inputs.
    """

    stage: str
    tensor: str
    check: str
    sizes: Mapping[str, int]
    relative_l2: float
    max_abs: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the distance is within the tolerance."""
        # A NaN distance compares false with everything, and so fails.
        return self.relative_l2 <= self.tolerance


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        weights: {"source", "sha256", "seeded"}; seeded weights are random numbers, not a trained model.
        backend: {"name", "version", ...}; TensorRT flavours add what an engine is tied to:
            "compute_capability" (list of "8.9"; empty: not tied), "gpu", "driver", "os".
        files: file name -> {"sha256", "bytes"} for everything in the bundle but the manifest.
        precision_map: which operations run in which precision, in words, per stage.
        tools: versions of what built it.
    """

    preset: str
    precision: str
    weights: Mapping[str, Any]
    backend: Mapping[str, Any]
    model: ModelSpec
    stages: tuple[StageEntry, ...]
    files: Mapping[str, Mapping[str, Any]]
    parity: tuple[Parity, ...] = ()
    precision_map: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    format: int = FORMAT

    def stage(self, name: str) -> StageEntry:
        """The entry of a stage.

        Raises:
            BundleError: the bundle has no such stage.
        """
        for entry in self.stages:
            if entry.spec.name == name:
                return entry
        have = ", ".join(entry.spec.name for entry in self.stages) or "none"
        raise BundleError(f"the bundle has no stage {name!r} (it has: {have})", "build all stages")

    def write(self, folder: Path) -> None:
        """Write `folder/manifest.json`; the folder is a bundle in the making."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `folder/manifest.json`.

        Raises:
            BundleError: no manifest, not JSON, or a format this version does not read.
        """
        path = folder / MANIFEST
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BundleError(
                f"{folder} is not a bundle: {MANIFEST} cannot be read ({error.strerror})",
                "build one: python export/build_engines.py --preset demo",
            ) from error
        except ValueError as error:
            raise BundleError(f"{path} is not valid JSON: {error}", "build the bundle again") from error
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            newer = isinstance(found, int) and found > FORMAT
            raise BundleError(
                f"{folder} has bundle format {found}, this version reads {FORMAT}",
                "update odise-trt" if newer else "build the bundle again",
            )
        try:
            return cls._from_json(data)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path} is incomplete: {error!r}", "build the bundle again") from error

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Manifest:
        model = dict(data["model"])
        model["train_labels"] = tuple(tuple(names) for names in model["train_labels"])
        stages = tuple(
            StageEntry(**{**row, "spec": StageSpec.from_json(row["spec"]), "files": tuple(row["files"])})
            for row in data["stages"]
        )
        parity = tuple(Parity(**row) for row in data["parity"])
        return cls(**{**data, "model": ModelSpec(**model), "stages": stages, "parity": parity})
