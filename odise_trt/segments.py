"""The contents of a result: segments, objects, and maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .backends.device_array import DeviceArray
from .task import Task

if TYPE_CHECKING:
    from .vocabulary import Vocabulary

_Class = TypeVar("_Class")

#: x, y, width, height in pixels.
Box = tuple[int, int, int, int]


def bounding_box(mask: np.ndarray) -> Box:
    """Return the smallest box around a mask bool (H, W). The mask must not be empty.

    `odise_trt.postprocess` grows the same boxes tile by tile, since it never has a whole mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic result.

    Attributes:
        id: the value of its pixels in `SegmentedImage.panoptic`, from 1.
        category_id: index into `SegmentedImage.vocabulary`.
        name: first name of the category.
        isthing: True for a countable thing (one segment per object), False for stuff (one per category).
        score: confidence in [0, 1].
        area: number of pixels.
        bbox: x, y, width, height in pixels.
    """

    id: int
    category_id: int
    name: str
    isthing: bool
    score: float
    area: int
    bbox: Box


@dataclass(frozen=True)
class Instance:
    """One object of an instance result. The masks of instances may overlap.

    Attributes:
        category_id: index into `SegmentedImage.vocabulary`.
        name: first name of the category.
        score: confidence in [0, 1].
        mask: bool (H, W).
        area: number of pixels.
        bbox: x, y, width, height in pixels.
    """

    category_id: int
    name: str
    score: float
    mask: np.ndarray
    area: int
    bbox: Box


class _OnHost:
    """A field that is set to an array of the host or of a GPU, or None, and read as one of the host.

    An array of a GPU is copied when it is read first. The copy is kept.
    """

    def __init__(self, name: str) -> None:
        self._name, self._copy = name, f"{name} on the host"

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        fields = vars(instance)
        if isinstance(fields[self._name], DeviceArray) and self._copy not in fields:
            fields[self._copy] = fields[self._name].copy_to_host()
        return fields.get(self._copy, fields[self._name])

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = value


def read_on_host(*names: str) -> Callable[[type[_Class]], type[_Class]]:
    """Let fields of a dataclass be set to arrays of a GPU, too. They are read as arrays of the host."""

    def decorate(cls: type[_Class]) -> type[_Class]:
        for name in names:
            setattr(cls, name, _OnHost(name))
        return cls

    return decorate


@read_on_host("image", "panoptic", "semantic")
@dataclass(frozen=True)
class SegmentedImage:
    """The data of a result. Of `panoptic`, `semantic` and `instances`, the one of the task that ran is set.

    The image and the maps are arrays of the host. What lies on a GPU is copied when it is read first.

    Attributes:
        image: uint8 (H, W, 3), RGB, as segmented (after EXIF rotation).
        vocabulary: the categories that `category_id` indexes.
        panoptic: int32 (H, W), the id of each pixel's segment. 0: no segment.
        segments: the segments of `panoptic`.
        semantic: int32 (H, W), each pixel's index into the vocabulary. -1: no category.
        instances: objects, best first.
        timings: seconds per stage, in the order they ran.
        provenance: what made the result: "bundle", "preset", "backend", "precision", "seeded". On a GPU with
            little memory also "windows per run" and "rows per run".
        source: the absolute path of the image. None: it was no file.
    """

    image: np.ndarray
    vocabulary: Vocabulary
    panoptic: np.ndarray | None = None
    segments: Sequence[Segment] = ()
    semantic: np.ndarray | None = None
    instances: Sequence[Instance] | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = None

    @property
    def task(self) -> Task:
        """The task that ran."""
        fields = vars(self)
        if fields["panoptic"] is not None:
            return "panoptic"
        return "semantic" if fields["semantic"] is not None else "instance"

    @property
    def ids(self) -> DeviceArray | None:
        """The map `panoptic` or `semantic` on the GPU, if it was requested there: int32 (H, W).

        Its memory is its own. It is freed when nothing holds this result any more, and nothing that was made
        of the map. It may outlive the segmenter.
        """
        fields = vars(self)
        found = fields["semantic"] if fields["panoptic"] is None else fields["panoptic"]
        return found if isinstance(found, DeviceArray) else None

    def id_map(self) -> np.ndarray:
        """Return the ids of the panoptic PNG, int32 (H, W), 0 where there is nothing.

        They are ids of segments (panoptic), category ids (semantic), or positions from 1 in the list of
        objects (instance). Where objects overlap, the best one is on top.
        """
        if self.panoptic is not None:
            return self.panoptic
        if self.semantic is not None:
            return self.semantic + 1
        ids = np.zeros(self.image.shape[:2], dtype=np.int32)
        for number, instance in reversed(list(enumerate(self.instances or (), 1))):
            ids[instance.mask] = number
        return ids
