"""Datasets in the layouts people have on disk, each with its vocabulary; see docs/datasets.md.

dataset = open_dataset("ade150", "/data", "val")
example = dataset[0]
"""

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
