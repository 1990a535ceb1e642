"""The dynamic axes and profiles that stages share."""

from __future__ import annotations

from odise_trt.stage_spec import Axis, Profile
from reference.preset import Preset

#: A 1024 x 2560 image, the largest official size, has ten windows. Longer images run in batches.
MAX_WINDOWS = 10
TYPICAL_WINDOWS = 4
MAX_TEXTS = 128
#: Name of a profile -> the most rows of a result at once, and its most columns. Products are alike.
OUTPUTS = {"screen": (256, 2560), "photo": (64, 8192), "panorama": (16, 32768)}


def window_axes(preset: Preset, most: int = MAX_WINDOWS) -> tuple[Axis, Axis]:
    """Return the axes of the number of windows, and of their side before enlargement to `preset.window`."""
    return (
        Axis("windows", 1, TYPICAL_WINDOWS, most),
        Axis("side", preset.divisor, preset.window, preset.window, preset.divisor),
    )


def window_profiles(preset: Preset, most: int = MAX_WINDOWS) -> tuple[Profile, ...]:
    """Return profiles for full windows, and for smaller ones of images with a shorter side below the window.

    Nearly every image has full windows, so they get kernels for exactly that side.

    Args:
        most: the most small windows at once.
    """
    step, side = preset.divisor, preset.window
    windows = (1, TYPICAL_WINDOWS, MAX_WINDOWS)
    profiles = [Profile("window", {"windows": windows, "side": (side, side, side)})]
    if side > step:
        middle = step * max(1, round(side / step / 2))
        small = (1, TYPICAL_WINDOWS, most)
        profiles.append(Profile("panorama", {"windows": small, "side": (step, middle, side - step)}))
    return tuple(profiles)


def most_windows(preset: Preset) -> int:
    """Return the most windows that an image can have. Low and long images have the most: small ones."""
    shorter = range(preset.divisor, preset.short_side + 1, preset.divisor)
    sides = [(short, min(short, preset.window)) for short in shorter]
    return max(-(-short // side) * -(-preset.max_side // side) for short, side in sides)


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


def row_axes(columns: str = "output_width", multiple: int = 1) -> tuple[Axis, Axis]:
    """Return the axes of a block of output rows, and of the columns of the output."""
    rows, _ = OUTPUTS["screen"]
    _, longest = OUTPUTS["panorama"]
    return Axis("rows", 1, rows, rows), Axis(columns, multiple, 1024, longest, multiple)


def output_axes() -> tuple[Axis, Axis]:
    """Return the axes of the height and width of the output."""
    longest = max(columns for _, columns in OUTPUTS.values())
    return Axis("output_height", 1, 1024, longest), Axis("output_width", 1, 1024, longest)


def whole_range(*axes: Axis) -> tuple[Profile, ...]:
    """Return one profile for all sizes, for stages that take little memory."""
    return (Profile("any", {axis.name: (axis.minimum, axis.typical, axis.maximum) for axis in axes}),)


def row_profiles(preset: Preset, columns: Axis) -> tuple[Profile, ...]:
    """Return profiles for masks of any image, and blocks of output rows."""
    step, short, longest = preset.divisor, preset.short_side, preset.max_side
    sides = dict.fromkeys(("height", "width"), (step, short, longest))
    return tuple(
        Profile(
            name,
            {
                **sides,
                "rows": (1, rows, rows),
                columns.name: (columns.minimum, min(most, max(columns.typical, most // 2)), most),
            },
        )
        for name, (rows, most) in OUTPUTS.items()
    )
