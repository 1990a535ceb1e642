"""The datasets by name. A new layout is one file and one line here: docs/adding-a-dataset.md."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from odise_trt.files.paths import expanded
from reference.errors import DatasetError

from .images import ImageDataset
from .layouts.base import Layout
from .near_misses import elsewhere
from .needs import missing, require

SPLITS = ("train", "val")
#: The modules of `layouts`, in the order that people see their datasets.
_MODULES = (
    "coco",
    "ade",
    "pascal",
    "street",
    "objects",
    "own",
)
#: Name -> layout.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for module in _MODULES
    for layout in import_module(f".layouts.{module}", __package__).LAYOUTS
}
#: Name -> what it is.
DATASETS: Mapping[str, str] = {layout.name: layout.description for layout in LAYOUTS.values()}
#: Other names for the same.
ALIASES = {"coco-panoptic": "panoptic"}


def layout_of(name: str) -> Layout:
    """Return the layout of a dataset.

    Raises:
        DatasetError: there is no dataset of that name.
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key not in LAYOUTS:
        raise DatasetError(f"there is no dataset {name!r}", f"there are: {', '.join(LAYOUTS)}")
    return LAYOUTS[key]


def check_split(split: str) -> None:
    """Raise DatasetError unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise DatasetError(f"there is no split {split!r}", f"there are: {', '.join(SPLITS)}")


def open_dataset(name: str, path: str | Path, split: str = "val") -> ImageDataset:
    """Open a dataset on disk. Only the index is read now; images are read one by one later.

    Args:
        name: see `DATASETS`; "coco-panoptic" is another name for "panoptic".
        path: the dataset's own folder, or a folder of datasets that it lies in.
        split: "train" or "val".

    Raises:
        DatasetError: no such dataset or split, something is missing, or files contradict each other.
    """
    layout = layout_of(name)
    check_split(split)
    folder = Path(expanded(path))
    needs = layout.needs(folder, split)
    advice = elsewhere(folder, split, SPLITS, layout.needs) if missing(needs) else None
    require(layout.name, folder, split, needs, advice)
    return layout.open(folder, split)
