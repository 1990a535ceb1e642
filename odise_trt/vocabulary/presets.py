"""The vocabularies that come with the package, and what they know about words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from .format import Entry
from .lines import read_lines

#: Their names, and what they are. The order matters: whether a word of yours is a thing is looked up in it.
PRESETS: Mapping[str, str] = {
    "coco": "COCO panoptic",
    "ade150": "ADE20K (SceneParse150)",
    "cityscapes": "Cityscapes",
    "lvis": "LVIS v1",
    "pc59": "PASCAL Context, 59 categories",
    "pc459": "PASCAL Context, 459 categories",
    "ade847": "ADE20K, full",
    "voc21": "PASCAL VOC and background",
    "scenes": "drawn scenes, what the demo model knows",
}
# The background of VOC is a heap of words, things among them, and scenes are drawings, where a house is an
# object as good as a ball: neither says anything about words in general.
_SAYS_NOTHING_ABOUT_WORDS = {"voc21", "scenes"}


@cache
def preset_entries(preset: str) -> tuple[Entry, ...]:
    """The categories of a preset, which must be one of `PRESETS`."""
    text = (files("odise_trt") / "vocabularies" / f"{preset}.txt").read_text(encoding="utf-8")
    return tuple(read_lines(text, preset))


def known_flag(names: Iterable[str]) -> bool | None:
    """Whether the first preset that has one of the names has it as a thing; None: none has."""
    names = [name.casefold() for name in names]
    for preset in PRESETS:
        if preset not in _SAYS_NOTHING_ABOUT_WORDS:
            flags = _flags(preset)
            for name in names:
                if name in flags:
                    return flags[name]
    return None


@cache
def _flags(preset: str) -> Mapping[str, bool]:
    flags: dict[str, bool] = {}
    for entry in preset_entries(preset):
        for name in entry.names:
            flags.setdefault(name.casefold(), bool(entry.isthing))
    return flags
