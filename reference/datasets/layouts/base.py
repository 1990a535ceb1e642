"""The declaration of a dataset, from which it is opened, verified and prepared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from odise_trt.vocabulary import Vocabulary

from ..images import ImageDataset
from ..needs import Need
from ..prepare.convert import Work


@dataclass(frozen=True)
class Layout:
    """A dataset with its layout on disk.

    Attributes:
        name: on the command line.
        description: one line about it.
        tasks: the tasks that can be evaluated on it.
        needs: (folder, split) -> the files and folders that it needs.
        open: (folder, split) -> the dataset; called when all needs are there.
        vocabulary: its preset; None: the categories come with the data.
        work: (folder, split) -> the work of `prepare`; None: no preparation is needed.
        own: whether users make it themselves; otherwise it is downloaded.
    """

    name: str
    description: str
    tasks: str
    needs: Callable[[Path, str], tuple[Need, ...]]
    open: Callable[[Path, str], ImageDataset]
    vocabulary: Vocabulary | None = None
    work: Callable[[Path, str], Work] | None = None
    own: bool = False
