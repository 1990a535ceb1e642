"""The frozen diffusion features of a whole photo, and the regions with similar features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor
from torch.nn import functional as F

from odise_trt.errors import OdiseError
from reference.features.names import FEATURES
from reference.inference import evaluation_size
from reference.model import ODISE
from reference.model.bicubic import resize_bicubic
from reference.model.diffusion import STRIDES
from reference.model.windows import extract_windows, stitch

#: Number of places from which k-means computes its centres. Every other place gets the nearest centre.
SAMPLE = 20_000
#: Number of starts of k-means, of which the best is kept, and of rounds per start.
STARTS, ROUNDS = 4, 30


class FeatureError(OdiseError):
    """A feature that does not exist, or that cannot be clustered as requested."""


@dataclass(frozen=True)
class FeatureMap:
    """One raw feature of a photo.

    Attributes:
        name: one of `FEATURES`.
        stride: pixels of the resized photo per place, along one side.
        values: float32 (h, w, channels). The last row and column may extend beyond the edge of the photo.
        size: height and width of the resized photo.
    """

    name: str
    stride: int
    values: np.ndarray
    size: tuple[int, int]

    def at(self, places: np.ndarray, height: int, width: int) -> np.ndarray:
        """Resize a map of the places (h, w, ...) for the photo. Every pixel takes the value of its place."""
        rows, columns = (
            ((np.arange(length) + 0.5) * full / length / self.stride).astype(np.intp)
            for length, full in zip((height, width), self.size, strict=True)
        )
        return places[np.ix_(rows, columns)]


@torch.no_grad()
def feature_maps(model: ODISE, photo: np.ndarray, names: Sequence[str] = FEATURES) -> list[FeatureMap]:
    """Return raw features of a photo at the size of the official evaluation.

    Windows are joined as in the model.

    Args:
        model: in evaluation mode, with diffusion features.
        photo: uint8 (H, W, 3).
        names: the requested features, from `FEATURES`.

    Raises:
        FeatureError: there is no such feature, or the model has no diffusion features.
    """
    unknown = [name for name in names if name not in FEATURES]
    if unknown or not names:
        raise FeatureError(
            f"there is no feature {', '.join(map(repr, unknown or ['']))}", f"features: {', '.join(FEATURES)}"
        )
    if model.preset.ablation.features != "diffusion":
        raise FeatureError("this model reads no diffusion features", "leave out --features clip")
    planes = _planes(model, photo)
    padded = model.pad(planes)
    windows, origins = extract_windows(padded, model.preset.window)
    side = windows.shape[-1]
    raw = model.backbone.diffusion(resize_bicubic(windows, model.preset.window), *model.captioner(windows))
    maps = []
    for name in names:
        index = FEATURES.index(name)
        stride = STRIDES[index]
        # As in the backbone: windows are enlarged for the diffusion model, its features are reduced again.
        feature = F.interpolate(raw[index].float(), size=(side // stride,) * 2, mode="nearest")
        joined = stitch(feature, origins, stride, *padded.shape[-2:])[0]
        # Places with padding only are not part of the photo.
        size = planes.shape[-2], planes.shape[-1]
        height, width = (-(-length // stride) for length in size)
        values = joined[:, :height, :width].permute(1, 2, 0).cpu().numpy()
        maps.append(FeatureMap(name, stride, values, size))
    return maps


def cluster(values: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
    """Group the places of a feature map by k-means (k-means++ starts, Euclidean distance).

    Args:
        values: float32 (h, w, channels).
        clusters: number of groups, at least 2.
        seed: seed of the starts.

    Returns:
        int32 (h, w), the number of the group. The largest group is 0.

    Raises:
        FeatureError: fewer places than groups, or values that are all equal or not finite.
    """
    height, width, channels = values.shape
    places = np.ascontiguousarray(values.reshape(-1, channels), dtype=np.float32)
    if not 2 <= clusters <= len(places):
        raise FeatureError(
            f"{clusters} clusters cannot be made of {len(places)} places",
            f"give a number from 2 to {len(places)}, or a finer feature",
        )
    if not np.isfinite(places).all():
        raise FeatureError("the features are not finite", "the weights are damaged: load or train them again")
    rng = np.random.default_rng(seed)
    sample = places if len(places) <= SAMPLE else places[rng.choice(len(places), SAMPLE, replace=False)]
    if len(np.unique(sample, axis=0)) < clusters:
        raise FeatureError(
            f"the features are alike all over the photo: there are no {clusters} clusters",
            "give a photo with something in it, or a finer feature",
        )
    best, closest = None, np.inf
    for _ in range(STARTS):
        with warnings.catch_warnings():
            # If a cluster of one start becomes empty, another start will be better.
            warnings.filterwarnings("ignore", message="One of the clusters is empty")
            centres, _ = kmeans2(sample, clusters, iter=ROUNDS, minit="++", rng=rng)
        distance = float(np.square(vq(sample, centres)[1]).sum())
        if distance < closest:
            best, closest = centres, distance
    labels = vq(places, best)[0]
    order = np.argsort(-np.bincount(labels, minlength=clusters), kind="stable")
    rank = np.empty(clusters, dtype=np.int32)
    rank[order] = np.arange(clusters)
    return rank[labels].reshape(height, width)


def _planes(model: ODISE, photo: np.ndarray) -> Tensor:
    """Return the photo as (1, 3, H, W) in [0, 1], resized as the official evaluation does."""
    preset = model.preset
    height, width = photo.shape[:2]
    height, width = evaluation_size(height, width, preset.short_side, preset.max_side)
    resized = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 255
