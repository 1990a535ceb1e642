"""Feature maps of an image by the engines of a bundle. `Segmenter.features` calls this."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from . import arguments
from .bundle import Bundle
from .bundle.rebuild import rebuild_command
from .errors import ArgumentError, BundleError
from .executor import PYRAMID_STAGE, Clock, Executor
from .features import Features
from .features.names import PROJECTED, RAW_STAGE, requested
from .files.own_results import digest_of, is_stream
from .preprocess import ImageSource, load_image, pad, resize_shortest, to_planes

#: Longest side of a resized image in pixels. It has to fit into memory.
_LARGEST = 2**15


def extract(
    executor: Executor,
    bundle: Bundle,
    image: ImageSource,
    names: str | Iterable[str] | None,
    *,
    short_side: int | None,
    max_side: int | None,
    time_step: int,
    batch: int,
) -> Features:
    """Return feature maps of an image, see `Segmenter.features`.

    Args:
        executor: with the captioner loaded. Further stages are loaded when they are needed.
        bundle: that of the executor.
        image, names, short_side, max_side, time_step: as for `Segmenter.features`.
        batch: windows per run of an engine.

    Raises:
        ArgumentError, FeatureError, BundleError, ImageError, BackendError: as there.
    """
    manifest = bundle.manifest
    has_raw = any(entry.spec.name == RAW_STAGE for entry in manifest.stages)
    chosen = requested(names, time_step, raw=has_raw)
    short, longest = image_sides(short_side, max_side, manifest.model.short_side, manifest.model.max_side)
    wanted = {
        stage: some
        for stage, some in (
            (PYRAMID_STAGE, tuple(name for name in chosen if name in PROJECTED)),
            (RAW_STAGE, tuple(name for name in chosen if name not in PROJECTED)),
        )
        if some
    }
    if RAW_STAGE in wanted and not has_raw:
        command = rebuild_command(bundle.folder, manifest, [RAW_STAGE], same_gpus=True)
        raise BundleError(
            f"{bundle.folder} has no stage {RAW_STAGE!r}, which gives {', '.join(wanted[RAW_STAGE])}",
            f"add it: {command}",
        )
    for stage in wanted:
        executor.load(stage)
    pixels = load_image(image)
    resized = resize_shortest(pixels, short, longest)
    padded = pad(to_planes(resized), manifest.model.divisor)
    maps = executor.maps(padded, batch, Clock(), wanted, time_step)
    strides = {name: executor.strides(stage)[name] for stage, some in wanted.items() for name in some}
    size = resized.shape[0], resized.shape[1]
    return Features(
        maps={name: within(maps[name][0], size, strides[name]) for name in chosen},
        strides={name: strides[name] for name in chosen},
        size=size,
        image_size=(pixels.shape[0], pixels.shape[1]),
        facts={
            "time_step": time_step,
            "caption": "implicit",
            "preset": manifest.preset,
            "weights": str(manifest.weights.get("source", "unknown")),
            "weights_sha256": str(manifest.weights.get("sha256", "unknown")),
            "seeded": bool(manifest.weights.get("seeded", False)),
            "sd_version": str(manifest.weights.get("sd_version", "unknown")),
            "bundle": bundle.folder.name,
            "backend": str(manifest.backend["name"]),
            "precision": manifest.precision,
            **facts_of(image, pixels),
        },
    )


def image_sides(
    short_side: int | None, max_side: int | None, usual_short: int, usual_longest: int
) -> tuple[int, int]:
    """Return the shorter side of a resized image, and the most that its longer side may have.

    Args:
        short_side, max_side: the requested sides. If only the shorter one is given, the longer one keeps the
            usual ratio to it.
        usual_short, usual_longest: the sides of the model.

    Raises:
        ArgumentError: a side is out of range, or the longer one is the shorter one.
    """
    if short_side is None and max_side is None:
        return usual_short, usual_longest
    short = usual_short if short_side is None else arguments.count("short_side", short_side, _LARGEST)
    if max_side is None:
        return short, min(_LARGEST, max(short, round(short * usual_longest / usual_short)))
    longest = arguments.count("max_side", max_side, _LARGEST)
    if longest < short:
        raise ArgumentError(f"max_side {longest} is below short_side {short}", "give a larger one")
    return short, longest


def facts_of(image: ImageSource, pixels: np.ndarray) -> dict[str, Any]:
    """Return what identifies an image in `Features.facts`: its file name, and a digest of its pixels."""
    is_file = isinstance(image, str | os.PathLike) and not is_stream(os.fsdecode(image))
    name = Path(os.fsdecode(image)).name if is_file else None  # type: ignore[arg-type]
    return {"image": name, "pixels": digest_of(pixels)}


def within(values: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Return the places of a map (C, H, W) that belong to the image, float32. Padding has the others.

    Args:
        values: the map of the padded image.
        size: height and width without padding.
        stride: pixels per place.
    """
    height, width = (-(-side // stride) for side in size)
    return np.ascontiguousarray(values[:, :height, :width], dtype=np.float32)
