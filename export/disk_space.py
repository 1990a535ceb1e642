"""Check that a disk has room for the files of a build, before hours of work."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from odise_trt.bundle.place import real_place
from odise_trt.errors import OutputError
from odise_trt.files.writing import writing
from odise_trt.stage_spec import PRECISIONS
from reference.preset import Preset

from .plan import Target
from .stage_work import held, used, weights_of

#: Bytes of tokenizer, constants, report and manifest.
_OTHER_FILES = 2 * 10**6
_BYTES = {"float32": 4, "float16": 2}


def require_room(needs: Sequence[tuple[Target, Collection[str]]], preset: Preset) -> int:
    """Raise OutputError unless every target has room for the weights of the stages to be built for it.

    Returns:
        The bytes of all weights of these stages in float32, used or not.

    Raises:
        OutputError: a disk is too full. The estimate is a lower bound, because it counts weights only and not
            the graphs around them.
    """
    # Counting all weights of the modules takes no time. Finding the weights that a stage uses takes seconds.
    names = list(dict.fromkeys(name for _, some in needs for name in some))
    whole = weights_of(preset, names, held)
    if _short(needs, whole) is not None:
        short = _short(needs, weights_of(preset, names, used))
        if short is not None:
            raise short
    return 4 * sum({key: count for stage in whole.values() for key, count in stage.items()}.values())


def _short(
    needs: Iterable[tuple[Target, Collection[str]]], weights: Mapping[str, Mapping[int, int]]
) -> OutputError | None:
    needed: Counter[int] = Counter()
    for target, names in needs:
        place = real_place(target.folder).parent
        counts = [weights[name] for name in names]
        # Graphs keep what several stages read once. Every engine has its own copy, if it has weights.
        once = sum({key: count for stage in counts for key, count in stage.items()}.values())
        every = sum(sum(stage.values()) for stage in counts)
        with writing(place):
            disk, free = place.stat().st_dev, shutil.disk_usage(place).free
        numbers = once if target.builder is None or target.strips_weights else every
        needed[disk] += numbers * _BYTES[PRECISIONS[target.precision]] + _OTHER_FILES
        if needed[disk] > free:
            return OutputError(
                f"{place} has {_size(free)} of free space, the build needs at least {_size(needed[disk])}",
                "make room, or choose another --output",
            )
    return None


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"
