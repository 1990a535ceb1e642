"""What computes features for the command: the model in PyTorch, or the engines of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from odise_trt.errors import FeatureError
from odise_trt.features import Features
from odise_trt.features.names import PROJECTED

# PyTorch is imported where it is used: engines do not need it.
if TYPE_CHECKING:
    from odise_trt.segmenter import Segmenter
    from reference.features.maps import Caption
    from reference.model import ODISE


@dataclass(frozen=True)
class Request:
    """What the features of every photo are requested with, see `odise_trt.Segmenter.features`."""

    names: Sequence[str] | None = None
    short_side: int | None = None
    max_side: int | None = None
    time_step: int = 0


class Source(Protocol):
    """Computes the features of photos."""

    @property
    def seeded(self) -> bool:
        """Whether its weights are random numbers."""
        ...

    def features(self, photo: Path, request: Request) -> Features:
        """Return the features of a photo.

        Raises:
            OdiseError: the photo cannot be read, or the source does not have what is requested.
        """
        ...


@dataclass(frozen=True)
class Engines:
    """The engines of an open segmenter."""

    segmenter: Segmenter

    @property
    def seeded(self) -> bool:
        """See `Source`."""
        return bool(self.segmenter.bundle.manifest.weights.get("seeded"))

    def features(self, photo: Path, request: Request) -> Features:
        """See `Source`."""
        return self.segmenter.features(
            photo,
            request.names,
            short_side=request.short_side,
            max_side=request.max_side,
            time_step=request.time_step,
        )


@dataclass(frozen=True)
class Model:
    """A model in PyTorch.

    Attributes:
        model: in evaluation mode.
        caption: what the UNet is told.
        facts: of the weights, for `Features.facts`.
    """

    model: ODISE
    caption: Caption
    facts: dict[str, Any]

    @property
    def seeded(self) -> bool:
        """See `Source`."""
        return bool(self.facts["seeded"])

    def features(self, photo: Path, request: Request) -> Features:
        """See `Source`."""
        from odise_trt.extraction import facts_of
        from odise_trt.preprocess import load_image
        from reference.features.maps import feature_maps

        pixels = load_image(photo)
        return feature_maps(
            self.model,
            pixels,
            request.names,
            short_side=request.short_side,
            max_side=request.max_side,
            time_step=request.time_step,
            caption=self.caption,
            batch=_WINDOWS,
            facts=self.facts | facts_of(photo, pixels),
        )


#: Windows that run at once. More are no faster on a CPU, and need more memory.
_WINDOWS = 4


def load_model(preset: str, weights: str, caption: Caption | None, names: Sequence[str] | None) -> Model:
    """Load a model for its features. A file with the frozen part only is enough for raw features.

    Args:
        preset, weights: as for `reference.checkpoint.load_weights`.
        caption: None: the implicit one, or the empty one if the file has no captioner.
        names: the requested features. They are checked here, before a large file is loaded.

    Raises:
        FeatureError: the file has the frozen part only, and the request needs the trained one.
        PresetError, WeightsError: as `load_weights`.
    """
    from reference.checkpoint import describe_weights, load_frozen, load_weights

    described = describe_weights(preset, weights)
    facts: dict[str, Any] = {
        "weights": described["source"],
        "weights_sha256": described["sha256"],
        "seeded": described["seeded"],
        "sd_version": described.get("sd_version", "unknown"),
    }
    if _is_trained(preset, weights):
        return Model(load_weights(preset, weights), caption or "implicit", facts)
    projected = [name for name in names or () if name in PROJECTED]
    if projected or caption == "implicit":
        what = ", ".join(projected) if projected else "the implicit caption"
        raise FeatureError(
            f"{weights} has the frozen part of a model only, and {what} needs the trained part",
            "give the weights of a whole model, or take raw features with --caption empty",
        )
    return Model(load_frozen(preset, weights), "empty", facts)


def open_engines(folder: Path, device: str | None, threads: int | None) -> AbstractContextManager[Segmenter]:
    """Open the engines of a bundle.

    Raises:
        BundleError, BackendError, ArgumentError: as `Segmenter.open`.
    """
    from odise_trt.segmenter import Segmenter

    return Segmenter.open(folder, device=device, threads=threads, cache=False)


def _is_trained(preset: str, weights: str) -> bool:
    """Whether weights have the trained part too. All but files have."""
    from reference.checkpoint import weights_file
    from reference.preset import find_preset
    from reference.weights.safetensors_file import WeightsFile

    if weights == "demo" or weights.startswith("random:"):
        return True
    with WeightsFile(weights_file(find_preset(preset), weights)) as tensors:
        return any(not name.startswith(_FROZEN) for name in tensors)


#: The parts of a model that hold UNet, VAE and CLIP. All others belong to the trained part.
_FROZEN = (
    "backbone.feature_extractor.ldm_extractor.",
    "backbone.feature_extractor.clip.",
    "category_head.clip.",
    "word_head.clip.",
    "clip_head.clip.",
)
