"""Draw the scenes of a training once and keep them on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from odise_trt.cli.console import output
from odise_trt.cli.progress import followed
from odise_trt.files.writing import unfinished, write_file
from reference.scenes import make_scene

#: The category that mask training never sees.
NOVEL = "balloon"


@dataclass(frozen=True)
class SceneStore:
    """Scenes of one size.

    Attributes:
        images: uint8 (N, S, S, 3), RGB.
        maps: uint8 (N, S, S), ids of segments from 1; 0: void.
        categories: per scene, the category of segment 1, 2, ...
    """

    images: np.ndarray
    maps: np.ndarray
    categories: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.images)


def draw(folder: Path, first_seed: int, count: int, size: int, without: tuple[str, ...] = ()) -> SceneStore:
    """Return the scenes of `count` seeds. They are drawn only if `folder` does not have them yet.

    Args:
        folder: keeps the scenes; created if it does not exist.
        first_seed: seed of the first scene.
        count: number of scenes.
        size: height and width in pixels.
        without: see `reference.scenes.make_scene`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"scenes-{first_seed}-{count}-{size}" + "".join(f"-no-{word}" for word in without)
    images, maps, listing = (folder / f"{name}.{part}" for part in ("images.npy", "maps.npy", "json"))
    if not listing.is_file():
        categories = []
        with _writing(images, (count, size, size, 3)) as pictures, _writing(maps, (count, size, size)) as ids:
            seeds = range(first_seed, first_seed + count)
            for index, scene in enumerate(_scenes(seeds, size, without)):
                pictures[index], ids[index] = scene[:2]
                categories.append(scene[2])
        # The listing is written last: if it exists, the arrays are complete.
        write_file(listing, json.dumps(categories).encode())
    kept = json.loads(listing.read_text(encoding="utf-8"))
    return SceneStore(
        np.load(images, mmap_mode="r"), np.load(maps, mmap_mode="r"), tuple(tuple(row) for row in kept)
    )


@contextmanager
def _writing(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Make a uint8 array in a file, which gets its name when it is complete."""
    with unfinished(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        yield array
        array.flush()


def _scenes(
    seeds: range, size: int, without: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, ...]]]:
    work = partial(_scene, size=size, without=without)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = pool.map(work, seeds, chunksize=16)
        yield from followed(drawn, f"drawing {len(seeds)} scenes", len(seeds), output())


def _scene(seed: int, size: int, without: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    scene = make_scene(seed, size, size, without=without)
    return scene.image, scene.panoptic.astype(np.uint8), tuple(s.category_id for s in scene.segments)
