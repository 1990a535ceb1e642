"""The dynamic axes and profiles that stages share."""

from __future__ import annotations

from odise_trt.stage_spec import Axis, Profile
from reference.preset import Preset

#: A 1024 x 2560 image, the largest official size, has ten windows. Longer images run in batches.
MAX_WINDOWS = 10
TYPICAL_WINDOWS = 4
MAX_TEXTS = 128


def window_axes(preset: Preset) -> tuple[Axis, ...]:
    """Return the axes of the number of windows, and of their side before enlargement to `preset.window`."""
    return (
        Axis("windows", 1, TYPICAL_WINDOWS, MAX_WINDOWS),
        Axis("side", preset.divisor, preset.window, preset.window, preset.divisor),
    )


def window_profiles(preset: Preset) -> tuple[Profile, ...]:
    """Return profiles for full windows, and for smaller ones of images with a shorter side below the window.

    Nearly every image has full windows, so they get kernels for exactly that side.
    """
    windows, step, side = (1, TYPICAL_WINDOWS, MAX_WINDOWS), preset.divisor, preset.window
    profiles = [Profile("window", {"windows": windows, "side": (side, side, side)})]
    if side > step:
        middle = step * max(1, round(side / step / 2))
        profiles.append(Profile("panorama", {"windows": windows, "side": (step, middle, side - step)}))
    return tuple(profiles)


def image_axes(preset: Preset) -> tuple[Axis, ...]:
    """Return the axes of the height and width of the padded image."""
    step = preset.divisor
    return tuple(Axis(name, step, preset.short_side, preset.max_side, step) for name in ("height", "width"))


def image_profiles(preset: Preset) -> tuple[Profile, ...]:
    """Return profiles for landscape and portrait. They need far less memory than a square of `max_side`."""
    step, short, longest = preset.divisor, preset.short_side, preset.max_side
    narrow = (step, short, short)
    wide = (step, step * round(short * 4 / 3 / step), longest)
    return (
        Profile("landscape", {"height": narrow, "width": wide}),
        Profile("portrait", {"height": wide, "width": narrow}),
    )


def text_axes() -> tuple[Axis, ...]:
    """Return the axis of the number of texts per run."""
    return (Axis("texts", 1, MAX_TEXTS, MAX_TEXTS),)


def text_profiles() -> tuple[Profile, ...]:
    """Return one profile for the full batches of large vocabularies and the small batches of single words."""
    return (Profile("texts", {"texts": (1, MAX_TEXTS, MAX_TEXTS)}),)
