"""Captioned crops of scenes, to train the small CLIP and the small UNet on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from reference.demo.scene_store import SceneStore
from reference.scenes import SCENE_VOCABULARY
from reference.scenes.captions import describe

# A segment that covers a smaller share of the picture is not named in its caption.
_WORTH_A_WORD = 0.01


class Captioned(NamedTuple):
    """A picture with its caption.

    Attributes:
        image: uint8 (side, side, 3), RGB.
        caption: a sentence.
        contents: the visible categories. Pictures with equal contents may exchange their captions.
    """

    image: np.ndarray
    caption: str
    contents: frozenset[int]


def square(store: SceneStore, rng: np.random.Generator, side: int, smallest: float) -> Captioned:
    """Return a random square part of a scene with a caption of its contents.

    Args:
        side: of the returned picture in pixels.
        smallest: smallest side of the part, as a share of the scene's side.
    """
    index, full = int(rng.integers(len(store))), store.images.shape[1]
    return _captioned(store, index, int(rng.integers(round(full * smallest), full + 1)), side, rng)


def window(store: SceneStore, rng: np.random.Generator, side: int) -> Captioned:
    """Return a random part of a scene, not resized, with a caption of its contents."""
    return _captioned(store, int(rng.integers(len(store))), side, side, rng)


def close_up(
    store: SceneStore, by_category: list[np.ndarray], rng: np.random.Generator, side: int
) -> Captioned:
    """Return a part of a scene around one segment, with a caption of that segment alone.

    Args:
        by_category: see `segments_by_category`.
        side: of the returned picture in pixels.
    """
    present = [index for index, found in enumerate(by_category) if len(found)]
    category = present[int(rng.integers(len(present)))]
    index, number = by_category[category][int(rng.integers(len(by_category[category])))]
    ids = store.maps[index]
    rows, columns = np.nonzero(ids == number)
    full = ids.shape[0]
    if SCENE_VOCABULARY.isthing[category]:
        y, x = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
        extent = max(np.ptp(rows), np.ptp(columns)) + 1
        wide = int(np.clip(extent * rng.uniform(0.9, 1.6), 12, full))
    else:
        # A random place on the stuff, close enough that it fills a good part of the picture.
        at = int(rng.integers(len(rows)))
        y, x = float(rows[at]), float(columns[at])
        wide = int(np.clip(len(rows) ** 0.5 * rng.uniform(0.4, 1.2), 12, full))
    top, left = (int(np.clip(round(place - wide / 2), 0, full - wide)) for place in (y, x))
    image = _resized(store.images[index, top : top + wide, left : left + wide], side)
    caption = describe([category], SCENE_VOCABULARY, rng)
    return Captioned(_mirrored(image, rng), caption, frozenset({category}))


def segments_by_category(store: SceneStore) -> list[np.ndarray]:
    """Return int64 (M, 2) per category: the scene and the id of each of its segments."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(len(SCENE_VOCABULARY))]
    for index, categories in enumerate(store.categories):
        for number, category in enumerate(categories, 1):
            found[category].append((index, number))
    return [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in found]


def _captioned(store: SceneStore, index: int, wide: int, side: int, rng: np.random.Generator) -> Captioned:
    top, left = (int(rng.integers(store.images.shape[1] - wide + 1)) for _ in range(2))
    part = np.s_[top : top + wide, left : left + wide]
    areas = np.bincount(store.maps[index][part].ravel(), minlength=1)
    categories = store.categories[index]
    seen = [categories[n - 1] for n in range(1, len(areas)) if areas[n] >= _WORTH_A_WORD * wide * wide]
    # `seen` is practically never empty: void pixels are thin slivers.
    caption = describe(seen, SCENE_VOCABULARY, rng) if seen else ""
    image = _mirrored(_resized(store.images[index][part], side), rng)
    return Captioned(image, caption, frozenset(seen))


def _resized(image: np.ndarray, side: int) -> np.ndarray:
    if image.shape[0] == side:
        return np.asarray(image)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def _mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[:, ::-1] if rng.random() < 0.5 else image
