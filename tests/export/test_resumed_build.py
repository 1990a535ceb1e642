"""A build that is stopped leaves the old bundle, and the next one goes on after the last finished stage."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from export.build import build
from export.finished import finished_folder
from export.plan import Request
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.errors import BundleError, ExportError
from tests.export.quick_build import STAGES, Log, content, make_quick, model_of, quick_request

NAME = "tiny-onnxruntime-fp32"


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        yield


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return quick_request(tmp_path)


@pytest.fixture
def stopped(request_: Request) -> Request:
    """A request whose first build was stopped while it exported the last stage."""
    log = Log(stop_at="text_encoder")
    with pytest.raises(KeyboardInterrupt):
        build(request_, log)
    assert log.exported() == list(STAGES)
    assert log.notes[-1] == f"{request_.output / NAME}: the next build goes on after captioner, clip_pool"
    assert os.listdir(request_.output) == [f".{NAME}.stages"]
    return request_


def test_the_next_build_goes_on_after_the_last_finished_stage(stopped: Request, tmp_path: Path) -> None:
    log = Log()
    (built,) = build(stopped, log)
    assert log.begun[:2] == ["captioner fp32 for onnxruntime: kept", "clip_pool fp32 for onnxruntime: kept"]
    assert log.exported() == ["text_encoder"]
    assert len(log.begun) == log.steps
    assert built.kept == ("captioner", "clip_pool")
    assert os.listdir(stopped.output) == [NAME]
    (undisturbed,) = build(replace(stopped, output=tmp_path / "undisturbed"), Log())
    assert content(built.folder) == content(undisturbed.folder)


def test_a_stage_that_is_taken_over_keeps_its_parity_as_it_was_recorded(stopped: Request) -> None:
    before = content(finished_folder(stopped.output / NAME))["parity"]
    (built,) = build(stopped, Log())
    assert [row for row in content(built.folder)["parity"] if row["stage"] != "text_encoder"] == before


def test_other_options_start_anew(stopped: Request) -> None:
    log = Log()
    build(replace(stopped, opset=22), log)
    assert log.exported() == list(STAGES)
    assert os.listdir(stopped.output) == [NAME]


def test_force_starts_anew(stopped: Request) -> None:
    log = Log()
    build(replace(stopped, force=True), log)
    assert log.exported() == list(STAGES)


def test_stages_of_another_model_than_the_key_says_are_not_kept(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = model_of(request_.weights)
    monkeypatch.setattr(other, "preset", replace(other.preset, short_side=192))
    with pytest.raises(ExportError, match="the model that was loaded is not that of preset tiny"):
        build(request_, Log())
    assert os.listdir(request_.output) == []


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [cut_off, Path.unlink])
def test_a_finished_stage_that_is_damaged_is_built_again(
    damage: Callable[[Path], None], stopped: Request
) -> None:
    damage(finished_folder(stopped.output / NAME) / "clip_pool.onnx")
    log = Log()
    (built,) = build(stopped, log)
    assert log.exported() == ["clip_pool", "text_encoder"]
    assert log.kept() == ["captioner"]
    Bundle.open(built.folder)


def test_a_stage_goes_with_the_weights_that_it_reads(stopped: Request) -> None:
    cut_off(finished_folder(stopped.output / NAME) / "captioner.onnx.data")
    log = Log()
    build(stopped, log)
    assert log.exported() == list(STAGES)


def test_a_record_that_cannot_be_read_is_no_record(stopped: Request) -> None:
    (finished_folder(stopped.output / NAME) / MANIFEST).write_text("{")
    log = Log()
    build(stopped, log)
    assert log.exported() == list(STAGES)
    assert os.listdir(stopped.output) == [NAME]


def test_a_damaged_stage_of_the_bundle_is_built_again_and_the_others_stay(request_: Request) -> None:
    (built,) = build(request_, Log())
    before = content(built.folder)
    (built.folder / "text_encoder.onnx").unlink()
    log = Log()
    build(request_, log)
    assert log.exported() == ["text_encoder"]
    assert content(built.folder) == before


def test_what_was_finished_goes_even_if_the_bundle_is_up_to_date(request_: Request) -> None:
    """The build was killed when the bundle was in its place, before it cleaned up."""
    (built,) = build(request_, Log())
    shutil.copytree(built.folder, finished_folder(built.folder))
    (again,) = build(request_, Log())
    assert (again.stages, again.kept) == ((), ())
    assert os.listdir(request_.output) == [NAME]


def test_finished_stages_are_no_bundle_among_others(stopped: Request) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: manifest\.json cannot be read"):
        Bundle.open(stopped.output)


def killed_after(seconds: float, request: Request) -> None:
    """Build in a process of its own, and kill it after some time."""
    with warnings.catch_warnings():
        # A fork of a process with threads; the child takes none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            build(request, Log())
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def kill_at(moments: int, tmp_path: Path) -> list[int]:
    """Replace a bundle and kill that at random moments. Return how many stages each next build kept."""
    (old,) = build(quick_request(tmp_path / "old"), Log())
    start = time.perf_counter()
    (new,) = build(quick_request(tmp_path / "new", weights="random:8"), Log())
    whole = time.perf_counter() - start
    both = content(old.folder), content(new.folder)
    chance, kept = random.Random(moments), []
    for moment in range(moments):
        request = quick_request(tmp_path / str(moment), weights="random:8")
        shutil.copytree(old.folder, request.output / NAME)
        killed_after(chance.uniform(0, 1.2 * whole), request)
        installed = Bundle.open(request.output / NAME)
        assert content(installed.folder) in both
        log = Log()
        (built,) = build(request, log)
        assert content(built.folder) == both[1]
        assert os.listdir(request.output) == [NAME]
        kept.append(len(log.kept()))
        shutil.rmtree(request.output)
    return kept


def test_a_build_that_is_killed_leaves_the_old_bundle_or_the_new_one(tmp_path: Path) -> None:
    assert len(kill_at(4, tmp_path)) == 4


@pytest.mark.slow
def test_a_build_that_is_killed_at_200_moments_is_never_half_done(tmp_path: Path) -> None:
    kept = kill_at(200, tmp_path)
    # Some were killed before the first stage was finished, some later.
    assert {0} < set(kept)
