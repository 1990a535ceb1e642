"""A segmenter on the stand-in, and how its results are compared with those of the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter
from odise_trt.chains import Job, Picture
from odise_trt.chains.device import DeviceChain
from odise_trt.preprocess import resize_shortest
from odise_trt.result import Result
from odise_trt.task import TASKS, Task
from tests.stand_in import bundle as stand_in
from tests.stand_in.cuda import StandInCuda
from tests.stand_in.tensorrt import Machine

WORDS = "cup, mug; table; bag, handbag, purse; floor; wall"
OTHER_WORDS = "sky; mountain"


class OnStandIn:
    """A segmenter of the demo bundle on a machine of its own."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, **options: object) -> None:
        self.machine = Machine(**options)
        stand_in.install(patch, self.machine)
        self.folder = folder
        self.segmenter = self.open()

    def open(self, device: str | None = None, max_windows: int | None = None) -> Segmenter:
        cache = self.folder.parent / "tables"
        return Segmenter.open(
            self.folder,
            vocabulary=WORDS,
            verify="size",
            cache=cache,
            device=device,
            max_windows=max_windows,
        )

    @property
    def cuda(self) -> StandInCuda:
        return self.machine.gpus[0]

    @property
    def chain(self) -> DeviceChain:
        assert isinstance(self.segmenter._chain, DeviceChain)
        return self.segmenter._chain

    def picture(self, pixels: np.ndarray) -> Picture:
        model = self.segmenter.bundle.manifest.model
        return Picture(pixels, resize_shortest(pixels, model.short_side, model.max_side))

    def job(self, *tasks: Task) -> Job:
        table = self.segmenter._table
        assert table is not None
        return Job(tasks or ("panoptic",), table, 0.0, 0.8)


def assert_same(
    found: dict[Task, Result], expected: dict[Task, Result], tasks: Sequence[Task] = TASKS
) -> None:
    """The same ids and categories but for ties, the same names and boxes, and scores within rounding."""
    assert found.keys() == expected.keys() & set(tasks)
    if "panoptic" in found:
        a, b = found["panoptic"], expected["panoptic"]
        assert (a.panoptic == b.panoptic).mean() >= 0.9999
        assert a.panoptic.dtype == b.panoptic.dtype == np.int32
        assert [(s.id, s.name, s.isthing, s.bbox) for s in a.segments] == [
            (s.id, s.name, s.isthing, s.bbox) for s in b.segments
        ]
        for one, other in zip(a.segments, b.segments, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.area == int((a.panoptic == one.id).sum())
    if "semantic" in found:
        assert (found["semantic"].semantic == expected["semantic"].semantic).mean() >= 0.9999
        assert found["semantic"].semantic.dtype == np.int32
    if "instance" in found:
        a, b = found["instance"].instances, expected["instance"].instances
        assert [one.name for one in a] == [other.name for other in b]
        for one, other in zip(a, b, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.area == one.mask.sum()
            assert abs(one.area - other.area) <= 1 + one.area // 1000
            assert one.bbox == pytest.approx(other.bbox, abs=1)
            assert (one.mask == other.mask).mean() >= 0.9999
