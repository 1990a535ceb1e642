"""libodise_trt with a stand-in for a GPU: see `cpp/tests/stand_in`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odise_trt import Vocabulary
from tests.cpp.library import Image, Library, Result, Segmenter

#: The version that bundles for it are built by.
VERSION = "10.13.0.1"
#: More bytes than what comes down beside an id map: scores, segments, counts.
TABLES = 16384
#: Opens a bundle on a new machine: its memory, the bundle, and options.
Opens = Callable[..., AbstractContextManager[Segmenter]]
_U64, _P = ctypes.c_uint64, ctypes.c_void_p
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "reset": (None, (_U64,)),
    "set": (None, (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_double)),
    "count": (ctypes.c_int64, (ctypes.c_char_p,)),
    "fault": (ctypes.c_char_p, ()),
    "picture": (_U64, (_P, ctypes.c_int32, _U64, _U64, _U64, ctypes.POINTER(_P))),
    "free": (None, (_U64, _P)),
    "read": (ctypes.c_int, (_U64, _P, _U64)),
}


class StandIn(Library):
    """The library, and the machine that it believes in."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for name, (returns, takes) in _SIGNATURES.items():
            function = getattr(self.functions, f"odise_stand_in_{name}")
            function.restype, function.argtypes = returns, takes

    @contextmanager
    def machine(self, memory: int = 2**31) -> Iterator[None]:
        """A new machine. What was opened inside must be closed inside: nothing may be left on it."""
        self.stand_in_reset(memory)
        yield
        fault = self.stand_in_fault().decode()
        assert not fault, fault
        left = {name: self.count(name) for name in ("used", "pinned", "graphs")}
        assert not any(left.values()), left

    def count(self, name: str) -> int:
        return int(self.stand_in_count(name.encode()))

    def set(self, what: str, stage: str, value: float = 0) -> None:
        self.stand_in_set(what.encode(), stage.encode(), value)

    @contextmanager
    def picture(
        self, pixels: np.ndarray, gap: int = 0, gpu: int = 0, bgr: bool = False, upside_down: bool = False
    ) -> Iterator[Image]:
        """A picture uint8 (H, W, 3) in the memory of a GPU, which is made late, on a stream of its own."""
        height, width, _ = pixels.shape
        content = np.ascontiguousarray(pixels[::-1] if upside_down else pixels)
        stride, stream = 3 * width + gap, _P()
        address = self.stand_in_picture(
            content.ctypes.data, gpu, height, 3 * width, stride, ctypes.byref(stream)
        )
        last = address + (height - 1) * stride
        yield Image(
            data=last if upside_down else address,
            width=width,
            height=height,
            stride=-stride if upside_down else stride,
            format=int(bgr),
            memory=1,
            stream=stream.value,
        )
        self.stand_in_free(address, stream)

    def read(self, address: int, shape: tuple[int, ...]) -> np.ndarray:
        """A map int32 that is complete in the memory of a GPU."""
        array = np.empty(shape, np.int32)
        assert self.stand_in_read(address, array.ctypes.data, array.nbytes) == 1
        return array


def set_words(segmenter: Segmenter, words: Vocabulary) -> None:
    """Let the bundle's text encoder encode them."""
    segmenter.set_words([(category.names, category.isthing) for category in words])


def assert_the_same(found: Result, expected: Result) -> None:
    """Both chains run the same graphs in the same library. Blocks of rows differ, and so does rounding."""
    maps = ((found.panoptic, expected.panoptic), (found.semantic, expected.semantic))
    for mine, theirs in maps:
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert np.count_nonzero(mine != theirs) <= 1e-4 * theirs.size
    assert [s.name for s in found.segments] == [s.name for s in expected.segments]
    assert [s.score for s in found.segments] == pytest.approx([s.score for s in expected.segments], abs=2e-5)
    assert len(found.instances) == len(expected.instances)
    for mask, other in zip(found.masks, expected.masks, strict=True):
        assert np.count_nonzero(mask != other) <= 1e-4 * other.size
    for a, b in zip(found.instances, expected.instances, strict=True):
        assert (a.name, a.bbox) == (b.name, b.bbox)
        assert a.score == pytest.approx(b.score, abs=2e-5)
