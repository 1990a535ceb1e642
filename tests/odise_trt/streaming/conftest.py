"""A segmenter for streams, whose threads are gone after each test."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from odise_trt import (
    Segmenter,
)
from tests.odise_trt import toy_bundle
from tests.odise_trt.streaming.parts import (
    WORDS,
    Slow,
)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    toy = toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy")
    with Segmenter.open(toy, threads=1, cache=False) as segmenter:
        yield segmenter


@pytest.fixture
def segmenter(opened: Segmenter) -> Iterator[Segmenter]:
    opened.vocabulary = WORDS
    before = set(threading.enumerate())
    yield opened
    gc.collect()
    assert set(threading.enumerate()) <= before


@pytest.fixture(params=[(1, 1), (3, 1), (2, 4)])
def deep(request: pytest.FixtureRequest, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """The segmenter, whose chain takes one picture at a time or several, or groups, as on a GPU."""
    if request.param != (1, 1):
        monkeypatch.setattr(segmenter, "_chain", Slow(segmenter._chain, *request.param))
    return segmenter
