"""The dynamic axes and profiles that stages share."""

from __future__ import annotations

from odise_trt.stage_spec import Axis, Profile
from reference.preset import Preset

#: A 1024 x 2560 image, the largest of the official sizes, is ten windows; longer strips run in batches.
MAX_WINDOWS = 10
TYPICAL_WINDOWS = 4
MAX_TEXTS = 128


def window_axes(preset: Preset) -> tuple[Axis, ...]:
    """Number of windows, and their side before they are enlarged to `preset.window`."""
    return (
        Axis("windows", 1, TYPICAL_WINDOWS, MAX_WINDOWS),
        Axis("side", preset.divisor, preset.window, preset.window, preset.divisor),
    )


def window_profiles(preset: Preset) -> tuple[Profile, ...]:
    """Full windows, and the smaller ones of images whose shorter side stays below the window.

    Nearly every image has full windows, so these get kernels for exactly that side.
    """
    windows, step, side = (1, TYPICAL_WINDOWS, MAX_WINDOWS), preset.divisor, preset.window
    profiles = [Profile("window", {"windows": windows, "side": (side, side, side)})]
    if side > step:
        middle = step * max(1, round(side / step / 2))
        profiles.append(Profile("panorama", {"windows": windows, "side": (step, middle, side - step)}))
    return tuple(profiles)


def image_axes(preset: Preset) -> tuple[Axis, ...]:
    """Height and width of the padded image."""
    step = preset.divisor
    return tuple(Axis(name, step, preset.short_side, preset.max_side, step) for name in ("height", "width"))


def image_profiles(preset: Preset) -> tuple[Profile, ...]:
    """Landscape and portrait: two narrow profiles need far less memory than one square of `max_side`."""
    step, short, longest = preset.divisor, preset.short_side, preset.max_side
    narrow = (step, short, short)
    wide = (step, step * round(short * 4 / 3 / step), longest)
    return (
        Profile("landscape", {"height": narrow, "width": wide}),
        Profile("portrait", {"height": wide, "width": narrow}),
    )


def text_axes() -> tuple[Axis, ...]:
    """Number of texts per run."""
    return (Axis("texts", 1, MAX_TEXTS, MAX_TEXTS),)


def text_profiles() -> tuple[Profile, ...]:
    """Large vocabularies come in full batches, single words in small ones; one profile serves both."""
    return (Profile("texts", {"texts": (1, MAX_TEXTS, MAX_TEXTS)}),)
