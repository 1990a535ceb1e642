"""Segmenters on the stand-in and on the CPU, and pictures for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt import Segmenter
from odise_trt.bundle.manifest import Manifest
from odise_trt.preprocess import load_image
from odise_trt.result import Result
from odise_trt.task import TASKS, Task
from tests.odise_trt.device.on_stand_in import WORDS, OnStandIn
from tests.stand_in import bundle as stand_in


@pytest.fixture(scope="session")
def source(demo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle, whose pictures are resized to 128 pixels and not to 256: one or two windows."""
    model = replace(Manifest.read(demo_bundle).model, short_side=128, max_side=256)
    return stand_in.copy(demo_bundle, tmp_path_factory.mktemp("engines") / "host", model=model)


@pytest.fixture(scope="session")
def folder(source: Path) -> Path:
    return stand_in.make(source, source.parent / "stand-in")


# Of a module, and not of the session: what it replaces is there again for other tests.
@pytest.fixture(scope="module")
def gpu(folder: Path) -> Iterator[OnStandIn]:
    with pytest.MonkeyPatch.context() as patch:
        made = OnStandIn(folder, patch)
        with made.segmenter:
            yield made


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OnStandIn]:
    """One that a test may break."""
    made = OnStandIn(folder, monkeypatch)
    with made.segmenter:
        yield made


@pytest.fixture(scope="session")
def host(source: Path) -> Iterator[Segmenter]:
    with Segmenter.open(source, vocabulary=WORDS, verify="size", cache=source.parent / "tables") as opened:
        yield opened


@pytest.fixture(scope="session")
def photo(root: Path) -> np.ndarray:
    return load_image(root / "assets" / "photo.jpg")


@pytest.fixture(scope="session")
def small(photo: np.ndarray) -> np.ndarray:
    """A picture that takes little time: one window, and few pixels of results."""
    return np.asarray(Image.fromarray(photo).crop((100, 0, 500, 400)).resize((90, 90)))


@pytest.fixture(scope="session")
def wide(photo: np.ndarray) -> np.ndarray:
    """Two windows, side by side."""
    return np.asarray(Image.fromarray(photo).crop((0, 0, 600, 300)).resize((180, 90)))


@pytest.fixture(scope="session")
def expected(host: Segmenter, small: np.ndarray) -> dict[Task, Result]:
    """What the small picture is on the CPU."""
    return host.results(small, TASKS)
