"""The manifest of a bundle: what it holds, how it was built, and how exact it is.

`export` writes it and the runtime reads it. Both use these dataclasses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ..backends.engine_mismatch import HARDWARE, VERSION
from ..errors import BundleError, hint_for, reason
from ..files.paths import expanded, kind_of
from ..files.typed_json import Check, MisfitError, Required, choice, keys, multiple_of, read_as, within
from ..files.writing import write_file
from ..pipeline import Pipeline, Step
from ..stage_spec import COMPUTE, PRECISIONS, Size, StageSpec

FORMAT = 1
MANIFEST = "manifest.json"
CONSTANTS = "constants.npz"
TOKENIZER = "tokenizer.json"

_Share = Annotated[float, within(0, 1)]
# Side of a picture in pixels. A resized picture must fit into memory.
_Side = Annotated[int, within(1, 2**15)]
# Feature maps have strides up to 32.
_Grid = Annotated[int, within(1, 2**15), multiple_of(32)]
_Width = Annotated[int, within(1, 2**16)]
_Bytes = Annotated[int, within(0, 2**62)]


def _template(text: str) -> str | None:
    """Return what is wrong with a prompt template that names cannot be put into, or None."""
    around = text.split("{}")
    if len(around) != 2 or any(brace in part for part in around for brace in "{}"):
        return f"must have {{}} once, for the name, it is {text!r:.80}"
    return None


_Template = Annotated[str, _template]
_in_backend: Check = keys(
    name=Required(str),
    version=str,
    compute_capability=tuple[str, ...],
    gpu=str,
    driver=str,
    os=str,
    arithmetic=tuple[str, ...],
    compatible=tuple[Annotated[str, choice(VERSION, HARDWARE)], ...],
)
_in_weights: Check = keys(source=str, sha256=str, seeded=bool, sd_version=str)
_in_file: Check = keys(sha256=Required(str), bytes=Required(_Bytes))


@dataclass(frozen=True)
class ModelSpec:
    """The settings of the model that the runtime needs besides the engines.

    Attributes:
        kind: "label" (a null embedding stands for "nothing") or "caption" (binary foreground logits do).
        short_side, max_side: the shorter side of an image becomes `short_side`, but the longer side becomes
            at most `max_side`.
        divisor: images are zero-padded at the bottom and right to a multiple of this.
        window: side of the square windows the diffusion features are taken from.
        num_queries, mask_embed_dim, clip_dim: Q, and the widths of `mask_embed` and `clip_mask_embed`.
        clip_image_size: side of the whole image as CLIP sees it.
        context_length: tokens per text.
        category_prompt: template of the texts compared with `mask_embed`. None: the bare names.
        clip_prompt: template of the texts compared with `clip_mask_embed`.
        train_labels: training categories with their synonyms. A category that shares a name takes `alpha`.
        alpha, beta: weight of CLIP in the geometric mean for seen and unseen categories.
        object_mask_threshold, overlap_threshold, topk_per_image: post-processing (official values).
    """

    kind: Annotated[str, choice("label", "caption")]
    short_side: _Side
    max_side: _Side
    divisor: _Grid
    window: _Grid
    num_queries: _Width
    mask_embed_dim: _Width
    clip_dim: _Width
    clip_image_size: _Side
    context_length: Annotated[int, within(3, 2**15)]
    category_prompt: _Template | None
    clip_prompt: _Template
    train_labels: tuple[tuple[str, ...], ...]
    alpha: _Share
    beta: _Share
    object_mask_threshold: _Share = 0.0
    overlap_threshold: _Share = 0.8
    topk_per_image: Size = 100


@dataclass(frozen=True)
class StageEntry:
    """One stage of a bundle.

    Attributes:
        spec: the declaration, at the bundle's precision.
        file: the file that a backend opens.
        files: every file that the stage needs, including external data.
        onnx_sha256: hash of the ONNX graph and its external data that the engine was built from.
        build_seconds, peak_memory_bytes: time and memory that the build took.
        precision: the precision that the stage computes in. None: that of the bundle.
        key: hash of everything that decides the files, see `export.stage_key`. None: not known.
        weights_from: the graph whose weights the engine takes when it is opened, one of `files`. None: it has
            its weights.
    """

    spec: StageSpec
    file: str
    files: tuple[str, ...]
    onnx_sha256: str
    build_seconds: Annotated[float, within(0, 1e12)]
    peak_memory_bytes: _Bytes
    precision: Annotated[str, choice(*PRECISIONS)] | None = None
    key: str | None = None
    weights_from: str | None = None


@dataclass(frozen=True)
class Parity:
    """One comparison with the fp32 reference.

    Attributes:
        check: what ran, "onnx" (ONNX Runtime on the exported graph), "network" (a parsed network), or the
            name of the backend that ran the exported graph.
        sizes: axis sizes of the inputs.
        relative_l2: distance to the reference. For integers, the share of elements that differ although
            rounding does not decide them.
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
        # Every comparison with NaN is false, so a NaN distance fails.
        return self.relative_l2 <= self.tolerance


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        weights: {"source", "sha256", "seeded"}. Seeded weights are random numbers, not a trained model. If
            the file of the weights says which Stable Diffusion is in it, also "sd_version".
        backend: {"name", "version", ...}. TensorRT flavours add what an engine is tied to:
            "compute_capability" (a list such as ["8.9"]; empty: not tied), "gpu", "driver", "os". If they
            run elsewhere as well, "compatible" has "version", "hardware" or both, see
            `backends.engine_mismatch`. Engines in bf16 add "arithmetic", what the processor must have:
            ["bf16"].
        files: file name -> {"sha256", "bytes"} for everything in the bundle but the manifest.
        precision_map: which operations run in which precision, in words, per stage.
        tools: versions of what built it.
        pipeline: the way of a picture through the stages. Empty in bundles that lack one of its stages, and
            in those of older versions.
    """

    preset: str
    precision: Annotated[str, choice(*PRECISIONS)]
    weights: Annotated[Mapping[str, Any], _in_weights]
    backend: Annotated[Mapping[str, Any], _in_backend]
    model: ModelSpec
    stages: tuple[StageEntry, ...]
    files: Mapping[str, Annotated[Mapping[str, Any], _in_file]]
    parity: tuple[Parity, ...] = ()
    precision_map: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    pipeline: tuple[Step, ...] = ()
    format: int = FORMAT

    def stage(self, name: str) -> StageEntry:
        """Return the entry of a stage.

        Raises:
            BundleError: the bundle has no such stage.
        """
        for entry in self.stages:
            if entry.spec.name == name:
                return entry
        have = ", ".join(entry.spec.name for entry in self.stages) or "none"
        raise BundleError(f"the bundle has no stage {name!r} (it has: {have})", "build all stages")

    def write(self, folder: Path) -> None:
        """Write `folder/manifest.json`. The folder is an unfinished bundle."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        write_file(folder / MANIFEST, text.encode())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read `folder/manifest.json`.

        Raises:
            BundleError: there is no manifest, it is not JSON, this version does not read its format, or it
                has a value that no build writes. The message names the value.
        """
        folder = Path(expanded(folder))
        path = folder / MANIFEST
        try:
            content = path.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: no file can have that name
            raise _no_bundle(folder, error) from error
        try:
            # Some editors write a byte order mark.
            data = json.loads(content.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{path} is not valid JSON: {error}", "build the bundle again") from error
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT or isinstance(found, bool):
            newer = isinstance(found, int) and found > FORMAT
            raise BundleError(
                f"{folder} has bundle format {found!r:.40}, this version reads {FORMAT}",
                "update odise-trt" if newer else "build the bundle again",
            )
        try:
            manifest: Manifest = read_as(cls, data)
            manifest.check()
        except MisfitError as error:
            raise BundleError(
                f"{path} is not as a build writes it: {error}", "undo the change, or build the bundle again"
            ) from error
        return manifest

    def check(self) -> None:
        """Raise MisfitError if a stage occurs twice, has no precision, or has its weights elsewhere."""
        names = [entry.spec.name for entry in self.stages]
        for number, entry in enumerate(self.stages):
            entry.spec.check()
            if names.index(entry.spec.name) != number:
                raise MisfitError(f"stages[{number}]", f"is {entry.spec.name!r:.60} for the second time")
            if any(tensor.dtype == COMPUTE for tensor in (*entry.spec.inputs, *entry.spec.outputs)):
                raise MisfitError(f"stages[{number}]", f"has a tensor of dtype {COMPUTE!r}")
            if entry.weights_from is not None and entry.weights_from not in entry.files:
                raise MisfitError(
                    f"stages[{number}]",
                    f"takes weights from {entry.weights_from!r:.60}, which is none of its files",
                )
        Pipeline(self.pipeline, {entry.spec.name: entry.spec for entry in self.stages}).check()


def _no_bundle(folder: Path, error: OSError | ValueError) -> BundleError:
    inside = bundles_in(folder)
    if inside:
        names = ", ".join(str(one) for one in inside[:8])
        return BundleError(f"{folder} is not a bundle, it holds bundles", f"name one: {names}")
    found = kind_of(folder)
    if found.is_file:
        return BundleError(f"{folder} is a file, not the folder of a bundle", f"give {folder.parent}")
    hint = "build one: python export/build_engines.py --preset demo"
    if not found.is_there:
        return BundleError(f"{folder} is not a bundle: {found.why or 'there is no such folder'}", hint)
    why = str(error)
    if isinstance(error, OSError):
        why, hint = reason(error), hint_for(error) or hint
    return BundleError(f"{folder} is not a bundle: {MANIFEST} cannot be read ({why})", hint)


def bundles_in(folder: Path) -> list[Path]:
    """Return the bundles in a folder, or an empty list if the folder cannot be read."""
    try:
        # Hidden folders are those of builds.
        there = [one for one in sorted(folder.iterdir()) if not one.name.startswith(".")]
        return [one for one in there if kind_of(one / MANIFEST).is_file]
    except (OSError, ValueError):
        return []
