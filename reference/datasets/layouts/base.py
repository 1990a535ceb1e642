"""The declaration of a dataset: where its files are, and how it is opened, verified and prepared."""

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
    """A dataset that people have on disk.

    Attributes:
        name: on the command line.
        description: what it is, in a line.
        tasks: what can be evaluated on it.
        needs: (folder, split) -> what has to be there.
        open: (folder, split) -> the dataset; called when all is there.
        vocabulary: its preset; None: the categories come with the data.
        work: (folder, split) -> what `prepare` has to do; None: it is read as it was downloaded.
        own: it was made by whoever has it, and not downloaded.
    """

    name: str
    description: str
    tasks: str
    needs: Callable[[Path, str], tuple[Need, ...]]
    open: Callable[[Path, str], ImageDataset]
    vocabulary: Vocabulary | None = None
    work: Callable[[Path, str], Work] | None = None
    own: bool = False
