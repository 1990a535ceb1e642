"""The interface of a chain: it takes prepared pictures, and gives what results are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..task import Task
from ..text_table import TextTable

if TYPE_CHECKING:
    import numpy as np

    from ..backends.device import DeviceTensor
    from ..backends.device_array import DeviceArray

#: Where the id map of a result can be: an array of the host, or one of the GPU.
Place = Literal["host", "device"]
PLACES: tuple[Place, ...] = ("host", "device")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was read and resized.

    Attributes:
        pixels: uint8 (H, W, 3), RGB. Results have its size.
        resized: uint8 (h, w, 3), as `preprocess.resize_shortest` makes it from `pixels`. A `DeviceTensor`:
            it will be made on the GPU, with this shape.
    """

    pixels: np.ndarray | DeviceArray
    resized: np.ndarray | DeviceArray | DeviceTensor

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of results."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class Job:
    """What is wanted of a picture.

    Attributes:
        tasks: one or several.
        table: the vocabulary. It stays that of the job, whatever vocabulary is set meanwhile.
        object_mask_threshold, overlap_threshold: for the task panoptic, 0 to 1.
        ids: where the maps of the tasks panoptic and semantic go.
    """

    tasks: tuple[Task, ...]
    table: TextTable
    object_mask_threshold: float
    overlap_threshold: float
    ids: Place = "host"


@dataclass(frozen=True)
class Outcome:
    """What a chain made for one task.

    Attributes:
        fields: fields of a `Result`: "panoptic" and "segments", or "semantic", or "instances". Maps are where
            the job wants them.
        seconds: name of a part -> its wall time in seconds.
        notes: what was done otherwise than asked for, for the provenance of a result: "windows per run",
            "rows per run" and "pictures together", where a GPU had too little memory for more. The numbers
            are the same.
    """

    fields: Mapping[str, Any]
    seconds: Mapping[str, float]
    notes: Mapping[str, Any] = field(default_factory=dict)


class Pending(Protocol):
    """A picture on its way."""

    def outcomes(self) -> Mapping[Task, Outcome]:
        """Wait for the picture, and return what was made for each task of its job.

        Raises:
            BackendError: an engine failed, or gave numbers that are not finite.
        """
        ...


class Chain(Protocol):
    """Takes pictures. Those that are begun before others have finished may run at the same time."""

    @property
    def depth(self) -> int:
        """How many pictures, or groups, can be on their way before waiting for the first one saves time.

        At least 1.
        """
        ...

    @property
    def together(self) -> int:
        """The most pictures that `begin_together` begins. At least 1."""
        ...

    def check(self, job: Job) -> None:
        """Raise ArgumentError if the chain does not give what is wanted."""
        ...

    def adopt(self, image: object) -> Picture | None:
        """Take an image that lies in the memory of the chain's GPU, from the thread that made it.

        None: it lies elsewhere, or the chain takes pictures of the host only.

        Raises:
            ImageError: it is on another GPU, or is no uint8 (H, W, 3) of the size that the engines take.
            BackendError: the chain was closed, or the GPU failed.
        """
        ...

    def begin(self, picture: Picture, job: Job) -> Pending:
        """Start with a picture. It must not change before its outcomes are there.

        Raises:
            BackendError: the chain was closed, or an engine failed.
        """
        ...

    def begin_together(self, pictures: Sequence[Picture], job: Job) -> Sequence[Pending]:
        """Start with the first of several pictures, and with those after it that run together with it.

        What a picture gets does not depend on those beside it, an error neither.

        Returns:
            One for each picture that was begun: at least one, and perhaps not all.

        Raises:
            BackendError: the chain was closed, or an engine failed for the first picture.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Say in words what runs the pictures: backend, version, device, and what the steps run in."""
        ...
