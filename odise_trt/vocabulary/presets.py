"""The vocabularies that come with the package, and whether they have a word as a thing or as stuff."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from .format import Entry
from .lines import read_lines

#: Name -> description. The order matters: the thing flag of a user's word is looked up in this order.
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
# The background of VOC is a mixture of words, with things among them. In the drawings of scenes, a house is
# an object like a ball. So neither preset is used to look up words.
_SAYS_NOTHING_ABOUT_WORDS = {"voc21", "scenes"}


@cache
def preset_entries(preset: str) -> tuple[Entry, ...]:
    """Return the categories of a preset, which must be one of `PRESETS`."""
    text = (files("odise_trt") / "vocabularies" / f"{preset}.txt").read_text(encoding="utf-8")
    return tuple(read_lines(text, preset))


def known_flag(names: Iterable[str]) -> bool | None:
    """Return whether the first preset with one of the names has it as a thing. None: no preset has one."""
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
