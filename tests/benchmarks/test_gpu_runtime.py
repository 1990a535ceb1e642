"""The part of the GPU benchmark that measures bundles, without a GPU."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.gpu import runtime as part
from benchmarks.gpu.table import tables
from odise_trt.chains.program import Launch, Program
from odise_trt.chains.recordings import Recordings
from odise_trt.errors import BackendError, ImageError


class Opened:
    """In place of a segmenter."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.runs_on = {"device": "an abacus"}
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True

    def __call__(self, pixels: np.ndarray) -> Any:
        return SimpleNamespace(segments=[1, 2])

    def results(self, pixels: np.ndarray) -> None:
        pass

    def stream(self, images: Iterable[Any]) -> Iterator[Any]:
        for _ in images:
            yield SimpleNamespace(error=ImageError("broken") if self.fails else None)


def bench(*engines: str) -> Any:
    return SimpleNamespace(
        engines=engines,
        sizes=((4, 4), (4, 6)),
        device=torch.device("cpu"),
        vocabulary="scenes",
        repeats=3,
        seconds=0.1,
        pixels=lambda size: np.zeros((*size, 3), np.uint8),
    )


def test_every_bundle_is_measured_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, Opened]] = []

    def open_one(folder: str, **options: Any) -> Opened:
        assert options["device"] == "cpu"
        opened.append((folder, Opened()))
        return opened[-1][1]

    monkeypatch.setattr(part.Segmenter, "open", open_one)
    found = dict(part.runtime(bench("a/one", "b/two")))
    assert list(found) == ["one, 4x4", "one, 4x6", "two, 4x4", "two, 4x6"]
    assert all(one.closed for _, one in opened)
    first = found["one, 4x4"]
    assert first["seconds"] > 0
    assert first["all_tasks"]["runs"] == 3
    assert first["streamed_per_second"] > 0
    assert (first["segments"], first["steps"], first["runs_on"]) == (2, {}, Opened().runs_on)
    json.dumps(found)


def test_a_picture_of_the_stream_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part.Segmenter, "open", lambda folder, **options: Opened(fails=True))
    with pytest.raises(ImageError, match="broken"):
        list(part.runtime(bench("a/one")))


def test_without_a_bundle_the_part_is_refused() -> None:
    with pytest.raises(BackendError, match=r"no bundle to measure\n.*--engines"):
        list(part.runtime(bench()))


def test_events_stand_around_every_run_of_an_engine_and_are_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle: f"stream {handle}")
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: SimpleNamespace(record=happened.append))
    engine = SimpleNamespace(
        spec=SimpleNamespace(name="cut"), enqueue=lambda inputs, outputs: happened.append("ran")
    )
    launch, before = Launch(engine, {}, {}), (Launch.queue, Recordings.run)  # type: ignore[arg-type]
    recordings = Recordings(SimpleNamespace(stream=7, can_record=True), 8)  # type: ignore[arg-type]
    with part._events_around_launches() as marks:
        # Also a program that was there before, and would be recorded.
        recordings.run("program", Program((launch,)), 2, True)
    assert happened == ["stream 7", "ran", "stream 7"]
    assert len(recordings) == 0
    assert [name for name, _, _ in marks] == ["cut"]
    assert (Launch.queue, Recordings.run) == before


@pytest.mark.parametrize(
    ("card", "bundle", "numbers"),
    [
        ("h100", "onnxruntime_cuda-fp16, 1024x1024", (" 82.5 ", " 13.4 ")),
        ("h200", "onnxruntime_cuda-fp16, CUDA graphs, 1024x1024", (" 70.5 ", " 15.6 ")),
    ],
)
def test_the_recorded_bundles_have_a_table(
    card: str, bundle: str, numbers: tuple[str, ...], root: Path
) -> None:
    record = json.loads((root / f"benchmarks/results/odise-label-onnxruntime-{card}.json").read_text())
    console = Console(width=200, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        for table in tables(record):
            console.print(table)
    rows = [line for line in captured.get().splitlines() if bundle in line]
    assert any(all(number in row for number in numbers) for row in rows)
