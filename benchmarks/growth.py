"""How time grows with the number of words and with the size of the picture, on processes that are open.

The sizes alternate as the contenders do: every round asks for each size once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contest.statistics import summary

if TYPE_CHECKING:
    from benchmarks.contest.alternate import Follow
    from benchmarks.contest.process import Process

#: Numbers of categories, one name each.
WORDS = (1, 20, 133, 1500, 10_000)
#: Shapes of pictures, width over height: a square has the fewest windows, the last as many as there can be.
SHAPES = (1.0, 1.5, 2.0, 2.5)
_QUALITIES = ("red", "blue", "green", "old", "new", "small", "large", "wooden")
_SOURCES = ("coco", "lvis", "ade847")


def word_list(count: int) -> list[str]:
    """Return different names: those of COCO, LVIS and ADE20K, and then the same with a quality in front.

    Raises:
        ValueError: there are not so many.
    """
    found: dict[str, None] = {}
    for word in _every_word():
        if len(found) == count:
            break
        found.setdefault(word)
    if len(found) < count:
        raise ValueError(f"there are {len(found)} words, not {count}")
    return list(found)


def _every_word() -> Iterator[str]:
    from odise_trt.vocabulary import Vocabulary

    names = [
        " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
        for source in _SOURCES
        for name in Vocabulary.preset(source).names
    ]
    yield from names
    for quality in _QUALITIES:
        yield from (f"{quality} {name}" for name in names)


def _turns(rounds: int, seconds: float) -> Iterator[int]:
    """Yield the rounds, the first of which warms up. After so many seconds no further one begins."""
    begin = time.perf_counter()
    for turn in range(rounds + 1):
        if turn > 1 and time.perf_counter() - begin > seconds:
            return
        yield turn


def with_words(
    process: Process,
    image: Path,
    folder: Path,
    rounds: int,
    seconds: float,
    follow: Follow,
    words: Sequence[int] = WORDS,
) -> list[dict[str, Any]]:
    """Measure one contender with more and more categories.

    Args:
        rounds: measured pictures per number, at most.
        seconds: no further round begins after so long. One is measured in any case.

    Returns:
        A row per number: `words`, `encoded_seconds` of the first time, and `summary`. The vocabulary of the
        contender is another one afterwards.
    """
    lists = {count: word_list(count) for count in words}
    encoded: dict[int, float] = {}
    samples: dict[int, list[dict[str, Any]]] = {count: [] for count in words}
    for turn in _turns(rounds, seconds):
        for count, names in lists.items():
            follow(f"{count} words", 0.9)
            took = process.ask("words", names=names)["seconds"]
            encoded.setdefault(count, took)
            # The first picture of a vocabulary pays for what is kept: unit vectors, the categories' JSON.
            process.ask("segment", image=str(image), folder=str(folder))
            answer = process.ask("segment", image=str(image), folder=str(folder))
            if turn:  # the first round warms up
                samples[count].append(answer)
    return [{"words": count, "encoded_seconds": encoded[count]} | summary(samples[count]) for count in words]


def with_windows(
    processes: Mapping[str, Process],
    image: Path,
    folder: Path,
    rounds: int,
    seconds: float,
    preset: str,
    follow: Follow,
) -> list[dict[str, Any]]:
    """Measure contenders with wider and wider pictures. `rounds` and `seconds` are those of `with_words`.

    Returns:
        A row per shape: `height` and `width` of the resized picture, `windows`, and `contenders`, the name of
        each -> its `summary`.
    """
    pictures = _shapes(image, folder, preset)
    samples: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for turn in _turns(rounds, seconds):
        for number, picture in enumerate(pictures):
            for name, process in processes.items():
                follow(f"{picture['windows']} windows: {name}", 0.95)
                answer = process.ask("segment", image=picture["file"], folder=str(folder))
                if turn:
                    samples.setdefault((number, name), []).append(answer)
    return [
        {key: picture[key] for key in ("height", "width", "windows")}
        | {"contenders": {name: summary(samples[number, name]) for name in processes}}
        for number, picture in enumerate(pictures)
    ]


def _shapes(image: Path, folder: Path, preset: str) -> list[dict[str, Any]]:
    from PIL import Image

    from odise_trt.preprocess import shortest_size
    from odise_trt.windows import Grid
    from reference.preset import find_preset

    sizes = find_preset(preset)
    with Image.open(image) as opened:
        photo = opened.convert("RGB")
    found = []
    for shape in SHAPES:
        width = round(sizes.short_side * shape)
        file = folder / f"shape{shape:g}.png"
        photo.resize((width, sizes.short_side), Image.Resampling.BILINEAR).save(file)
        height, width = shortest_size(sizes.short_side, width, sizes.short_side, sizes.max_side)
        padded_height, padded_width = (side + -side % sizes.divisor for side in (height, width))
        windows = len(Grid.over(padded_height, padded_width, sizes.window))
        found.append({"file": str(file), "height": height, "width": width, "windows": windows})
    return found
