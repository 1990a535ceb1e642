"""The sizes of pictures that a bundle is built for, and what they mean for the axes of a stage.

Pictures of one size need one set of kernels: every axis that follows from the picture has one value. The axes
of results (`rows`, `output_width`) keep their ranges, since a picture may be wanted in another size.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from odise_trt.errors import ExportError
from odise_trt.preprocess import shortest_size
from odise_trt.stage_spec import Axis, Profile, StageSpec
from reference.preset import Preset

from .chain_examples import grid_sizes, size_of

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_WINDOWS = "windows"


@dataclass(frozen=True)
class ImageSize:
    """The size of a picture, in pixels. Its text is "1920x1080"."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def axes(self, preset: Preset) -> dict[str, int]:
        """Return the sizes of all axes that follow from it, for a model."""
        picture = shortest_size(self.height, self.width, preset.short_side, preset.max_side)
        size = size_of(preset, picture)
        found = {"picture_height": picture[0], "picture_width": picture[1], **grid_sizes(size)}
        height, width = size.padded
        overlap = [side % found["side"] != 0 for side in size.padded]
        return {**found, "height": height, "width": width, "taps": 2 ** sum(overlap)}


def image_sizes(texts: Sequence[str]) -> tuple[ImageSize, ...]:
    """Return sizes of pictures, each once: `["1920x1080,1080x1920"]`, width before height.

    Raises:
        ExportError: a text is no size.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    found = {name: _SIZE.fullmatch(name) for name in names}
    if wrong := [name for name, match in found.items() if match is None or 0 in map(int, match.groups())]:
        raise ExportError(
            f"--image-sizes {', '.join(map(repr, wrong))} is no size of a picture",
            "give width and height in pixels, like 1920x1080,1080x1920",
        )
    return tuple(ImageSize(int(match[1]), int(match[2])) for match in found.values() if match is not None)


def for_images(spec: StageSpec, preset: Preset, images: Sequence[ImageSize], *, in_parts: bool) -> StageSpec:
    """Return the declaration of a stage for pictures of these sizes only, with profiles for each.

    Args:
        images: if empty, or the stage has no axis that follows from them, the declaration stays as it is.
        in_parts: the stage takes the windows of a picture in runs of fewer, and not all at once.
    """
    names = {axis.name for axis in spec.axes} & ImageSize(1, 1).axes(preset).keys()
    if not images or not names:
        return spec
    profiles: dict[str, Profile] = {}
    for image in images:
        sizes = {name: value for name, value in image.axes(preset).items() if name in names}
        for profile in spec.profiles:
            ranges = _held(profile, sizes, in_parts)
            # Two sizes may be one for a stage, and a square is both landscape and portrait.
            if ranges is not None and not any(one.ranges == ranges for one in profiles.values()):
                name = f"{profile.name}-{image}"
                profiles[name] = Profile(name, ranges)
    axes = tuple(
        _between(axis, list(profiles.values())) if axis.name in names else axis for axis in spec.axes
    )
    return replace(spec, axes=axes, profiles=tuple(profiles.values()))


def with_constants(whole: StageSpec, spec: StageSpec, images: Sequence[ImageSize]) -> StageSpec:
    """Return the declaration of a graph for pictures of these sizes: axes with one size are constants in it.

    Args:
        whole: the declaration for any picture.
        spec: that of the bundle.
    """
    if not images:
        return whole
    axes = (
        one if one.minimum == one.maximum else axis for axis, one in zip(whole.axes, spec.axes, strict=True)
    )
    return replace(whole, axes=tuple(axes))


def check_sizes_of(
    spec: StageSpec, preset: Preset, images: Sequence[ImageSize], usual: Sequence[Mapping[str, int]]
) -> tuple[Mapping[str, int], ...]:
    """Return the sizes to check a stage at whose sizes depend on each other.

    Args:
        spec: its declaration, as from `for_images`.
        usual: those for pictures of any size, see `StageWrapper.sizes`.
    """
    names = {axis.name for axis in spec.axes}
    found = [
        {**usual[-1], **{name: value for name, value in image.axes(preset).items() if name in names}}
        for image in images
    ]
    return tuple(dict(items) for items in dict.fromkeys(tuple(one.items()) for one in found)) or tuple(usual)


def _held(
    profile: Profile, sizes: Mapping[str, int], in_parts: bool
) -> dict[str, tuple[int, int, int]] | None:
    """Return the ranges of a profile at these sizes. None: it does not hold them."""
    ranges = dict(profile.ranges)
    for name, value in sizes.items():
        if name not in ranges:
            continue
        least, _, most = ranges[name]
        if name == _WINDOWS and in_parts:
            several = min(value, most)
            ranges[name] = (least, several, several)
        elif least <= value <= most:
            ranges[name] = (value, value, value)
        else:
            return None
    return ranges


def _between(axis: Axis, profiles: Sequence[Profile]) -> Axis:
    """Limit an axis to what profiles hold."""
    ranges = [profile.ranges[axis.name] for profile in profiles if axis.name in profile.ranges]
    if not ranges:
        return axis
    least, most = min(one[0] for one in ranges), max(one[2] for one in ranges)
    return replace(axis, minimum=least, typical=ranges[0][1], maximum=most)
