"""Resizes pictures that lie on the GPU, with the stage `resize`, to exactly what Pillow gives on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..backends.cuda import Buffer, Cuda
from ..backends.device import DeviceEngine, DeviceTensor
from ..backends.device_array import DeviceArray
from ..pipeline.arena import aligned
from ..resampling import BLOCK, LONGEST, MOST_TAPS, passes, resize_tensors
from .program import Launch
from .resident import Resident, Residents

#: The optional stage, which a build makes with `--with resize`.
RESIZE_STAGE = "resize"

#: The axis of a picture that a pass resizes.
_AXES = {"across": 1, "down": 0}


def can_resize(source: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether the stage takes a picture of this size, height and width."""
    taps = max(2 * max(1.0, size / out) + 1 for size, out in zip(source, target, strict=True))
    return max(source) <= LONGEST and taps <= MOST_TAPS


@dataclass(frozen=True)
class Resize:
    """The resize of one picture.

    Attributes:
        resizer: queues it.
        picture: uint8 (H, W, 3), on the GPU.
        vectors: of its size, on the GPU.
        scratch: bytes of scratch memory of its hungriest run.
    """

    resizer: Resizer
    picture: DeviceArray
    vectors: Resident
    scratch: int

    def queue(self, target: DeviceTensor) -> None:
        """Queue it, in order with the engines. The picture must live until it has run.

        Args:
            target: uint8 (h, w, 3).

        Raises:
            DeviceMemoryError: the GPU has too little memory.
        """
        self.resizer.queue(self, target)


class Resizer:
    """Runs the stage, in order with the engines. All pictures share its memory."""

    def __init__(self, cuda: Cuda, engine: DeviceEngine, residents: Residents) -> None:
        self._cuda, self._engine, self._residents = cuda, engine, residents
        self._memory = Buffer(cuda)

    def of(self, picture: DeviceArray, target: DeviceTensor) -> Resize:
        """Return the resize of a picture to a size. Its vectors stay for the next picture of these sizes.

        Raises:
            ImageError: the installed Pillow resizes in another way.
            DeviceMemoryError: the GPU has too little memory.
        """
        source, size = picture.shape[:2], target.shape[:2]

        def make() -> Mapping[str, np.ndarray]:
            return {
                f"{one}.{name}": array
                for one in passes(source, size)
                for name, array in resize_tensors(source[_AXES[one]], size[_AXES[one]]).items()
            }

        vectors = self._residents.of_size((RESIZE_STAGE, source, size), make)
        runs = self._launches(picture, vectors, target, 0)
        scratch = [
            self._engine.scratch({name: one.shape for name, one in run.inputs.items()}) for run in runs
        ]
        return Resize(self, picture, vectors, max(scratch))

    def queue(self, resize: Resize, target: DeviceTensor) -> None:
        """Queue a resize, see `Resize.queue`."""
        picture = resize.picture
        height, width = picture.shape[:2]
        # The copy is aligned and without gaps. Behind it lies what the first pass makes.
        between = 3 * max(height * target.shape[1], target.shape[0] * width)
        address = self._memory.reserve(aligned(picture.nbytes) + between)
        picture.copy_to(address, self._cuda.stream)
        for run in self._launches(picture, resize.vectors, target, address):
            run.queue(self._cuda)

    def close(self) -> None:
        """Free its memory. No picture may be on its way."""
        self._memory.close()

    def _launches(
        self, picture: DeviceArray, vectors: Resident, target: DeviceTensor, address: int
    ) -> Iterator[Launch]:
        """Yield the runs of both passes, block by block. `address`: of the copy of the picture."""
        pixels = DeviceTensor(address, "uint8", picture.shape)
        between = address + aligned(pixels.nbytes)
        order = passes(picture.shape[:2], target.shape[:2])
        for one in order:
            given = {name: vectors.tensors[f"{one}.{name}"] for name in ("index", "high", "low")}
            height, width, _ = pixels.shape
            shape = (height, target.shape[1], 3) if one == "across" else (target.shape[0], width, 3)
            resized = target if one == order[-1] else DeviceTensor(between, "uint8", shape)
            for start in range(0, shape[0], BLOCK):
                stop = min(start + BLOCK, shape[0])
                part = resized.part(start, stop)
                if one == "across":
                    taken = {"pixels": pixels.part(start, stop), **given}
                else:
                    # A row of pixels is one long row of values.
                    part = DeviceTensor(part.address, "uint8", (1, stop - start, width * 3))
                    taken = {name: vector.part(start, stop) for name, vector in given.items()}
                    taken["pixels"] = DeviceTensor(pixels.address, "uint8", (1, height, width * 3))
                yield Launch(self._engine, taken, {"resized": part})
            pixels = resized
