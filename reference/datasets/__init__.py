"""Open datasets in their usual layouts on disk, each with its vocabulary; see docs/datasets.md.

dataset = open_dataset("ade150", "/data", "val")
example = dataset[0]

Importing this package imports nothing heavy: names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from odise_trt.lazy import lazy_names

if TYPE_CHECKING:
    from reference.errors import DatasetError

    from .catalogue import DATASETS, open_dataset
    from .example import IGNORED, Dataset, Example, Federation, Instance, PanopticSegment
    from .overlap import overlap_with

__all__ = [
    "DATASETS",
    "IGNORED",
    "Dataset",
    "DatasetError",
    "Example",
    "Federation",
    "Instance",
    "PanopticSegment",
    "open_dataset",
    "overlap_with",
]

_HOMES = {
    "DATASETS": "reference.datasets.catalogue",
    "IGNORED": "reference.datasets.example",
    "Dataset": "reference.datasets.example",
    "DatasetError": "reference.errors",
    "Example": "reference.datasets.example",
    "Federation": "reference.datasets.example",
    "Instance": "reference.datasets.example",
    "PanopticSegment": "reference.datasets.example",
    "open_dataset": "reference.datasets.catalogue",
    "overlap_with": "reference.datasets.overlap",
}


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
