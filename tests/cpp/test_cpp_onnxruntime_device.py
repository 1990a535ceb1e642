"""ONNX Runtime as an engine on a GPU: its class and the chain, with sessions on the stand-in's memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from odise_trt.bundle.manifest import MANIFEST, Manifest
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp import library as through_c
from tests.cpp.library import Library, OdiseError
from tests.cpp.stand_in import StandIn, assert_the_same, set_words
from tests.cpp.test_cpp_device import PICTURES, TASKS
from tests.cpp.test_cpp_onnxruntime import CONTENTS, refused_in_python, replace_file
from tests.stand_in import bundle as stand_in_bundle

pytestmark = pytest.mark.slow

ENGINE = "onnxruntime_cuda"
#: Of so many runs of a stage, one is waited for.
WAIT_EVERY = 256
#: What a graph's metadata says if the device counts all sizes that it computes with.
COUNTED = ("odise_trt.sizes", "on the device")
HOST_SIZES = (
    "CUDA graphs are not used: the bundle's graphs work out sizes on the host, those built for"
    " onnxruntime_cuda do not"
)
Opens = Callable[..., AbstractContextManager[through_c.Segmenter]]


@pytest.fixture(scope="module")
def library(library: Library) -> Library:
    if "onnxruntime" not in library.engine_names:
        pytest.skip("libodise_trt was built without ONNX Runtime: make cpp ONNXRUNTIME=FOLDER")
    return library


@pytest.fixture(scope="module")
def small(library: Library, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo bundle with pictures resized to 128 pixels."""
    model = replace(Manifest.read(built).model, short_side=128, max_side=256)
    target = tmp_path_factory.mktemp("small") / "demo-onnxruntime-fp32"
    return stand_in_bundle.copy(built, target, model=model)


@pytest.fixture(scope="module")
def host(library: Library, small: Path) -> Iterator[through_c.Segmenter]:
    """The chain of the host on the same graphs."""
    with library.open(small, graphs_only=1, verify_sizes_only=1, threads=1) as opened:
        set_words(opened, SCENE_VOCABULARY)
        yield opened


@pytest.fixture(scope="module")
def counted(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle, whose graphs say that they can be recorded: on the stand-in any graph can."""
    folder = tmp_path_factory.mktemp("counted") / "bundle"
    shutil.copytree(small, folder)
    for file in folder.glob("*.onnx"):
        model = onnx.load(file)
        onnx.helper.set_model_props(model, dict([COUNTED]))
        replace_file(folder, file.name, model.SerializeToString())
    return folder


@pytest.fixture
def opens(stand_in: StandIn, counted: Path) -> Opens:
    """Opens a bundle on a new machine."""

    @contextmanager
    def open_it(folder: Path = counted) -> Iterator[through_c.Segmenter]:
        with (
            stand_in.machine(),
            stand_in.open(folder, engine=ENGINE, verify_sizes_only=1, threads=1) as opened,
        ):
            set_words(opened, SCENE_VOCABULARY)
            yield opened

    return open_it


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_gives_what_the_host_gives(name: str, opens: Opens, host: through_c.Segmenter) -> None:
    pixels = np.ascontiguousarray(PICTURES[name]())
    with opens() as opened:
        for _ in range(4):
            found = opened.segment(pixels, *TASKS)
            assert_the_same(found, host.segment(pixels, *TASKS))
            assert found.note == ""


def test_the_third_picture_of_a_size_is_one_launch(
    opens: Opens, stand_in: StandIn, host: through_c.Segmenter
) -> None:
    first, second = (np.ascontiguousarray(make_scene(seed).image[:256, :300]) for seed in (1, 2))
    with opens() as opened:
        for number, pixels in enumerate((first, second, first, second)):
            assert_the_same(opened.segment(pixels), host.segment(pixels))
            # The second run of a size is recorded.
            counts = stand_in.count("recorded"), stand_in.count("launches")
            assert counts == (int(number > 0), max(0, number - 1))


def test_graphs_that_work_out_sizes_on_the_host_are_not_recorded(
    opens: Opens, stand_in: StandIn, small: Path, host: through_c.Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:256, :300])
    with opens(small) as opened:
        for _ in range(4):
            found = opened.segment(pixels)
            assert_the_same(found, host.segment(pixels))
            assert found.note == HOST_SIZES
        assert stand_in.count("recorded") == 0


def test_a_recording_that_copies_from_the_host_is_refused(
    opens: Opens, stand_in: StandIn, host: through_c.Segmenter
) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:256, :300])
    with opens() as opened:
        stand_in.set("copies from the host", "")
        for number in range(4):
            found = opened.segment(pixels)
            assert_the_same(found, host.segment(pixels))
            said = "CUDA graphs are not used: what was recorded copies from the host" if number else ""
            assert found.note == said
        assert (stand_in.count("recorded"), stand_in.count("launches")) == (0, 0)


def test_feature_maps_are_those_of_the_host(opens: Opens, host: through_c.Segmenter) -> None:
    pixels = np.ascontiguousarray(make_scene(2).image[:150])
    expected = host.features(pixels)
    with opens() as opened:
        found = opened.features(pixels)
    assert found.keys() == expected.keys()
    for name, (values, stride) in found.items():
        assert stride == expected[name][1]
        np.testing.assert_allclose(values, expected[name][0], atol=1e-4)


def test_between_upload_and_download_the_host_waits_once(opens: Opens, stand_in: StandIn) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:128, :128])
    counted = ("uploaded", "waits", "allocations", "waited runs")
    with opens() as opened:
        opened.segment(pixels)
        before = [stand_in.count(name) for name in counted]
        opened.segment(pixels)
        after = [stand_in.count(name) for name in counted]
    # The picture and two thresholds.
    assert np.subtract(after, before).tolist() == [pixels.nbytes + 2 * 256, 1, 0, 0]


def test_of_many_queued_runs_some_are_waited_for(opens: Opens, stand_in: StandIn, small: Path) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:8, :8])
    with opens(small) as opened:
        opened.segment(pixels)
        # Every stage runs once for a picture of one window.
        stages, before = stand_in.count("runs"), stand_in.count("waited runs")
        opened.segment(pixels)
        stages = stand_in.count("runs") - stages
        for _ in range(WAIT_EVERY - 2):
            opened.segment(pixels)
        assert stand_in.count("waited runs") - before == stages


def test_runs_that_copy_nothing_from_the_host_are_not_waited_for(opens: Opens, stand_in: StandIn) -> None:
    pixels = [np.ascontiguousarray(make_scene(1).image[:8, :width]) for width in range(8, 17)]
    with opens() as opened:
        before = stand_in.count("waited runs")
        for number in range(WAIT_EVERY + 1):
            # Nine sizes in turn: eight stay recorded, so none is launched. From the tenth picture on each is
            # run and recorded, and the 256th time is a run.
            opened.segment(pixels[number % len(pixels)])
        assert stand_in.count("launches") == 0
        assert stand_in.count("waited runs") == before


def test_sessions_that_ran_are_closed_with_a_run_that_is_waited_for(opens: Opens, stand_in: StandIn) -> None:
    with opens() as opened:
        # The text encoder is closed already.
        assert stand_in.count("waited runs") == 1
        sessions = stand_in.count("sessions")
        before = stand_in.count("runs")
        opened.segment(np.ascontiguousarray(make_scene(1).image[:8, :8]))
        ran = stand_in.count("runs") - before
        assert 0 < ran < sessions
    assert stand_in.count("waited runs") == 1 + ran
    assert stand_in.count("sessions") == 0


def test_raw_features_are_those_of_the_host(stand_in: StandIn, library: Library, raw_built: Path) -> None:
    pixels = np.ascontiguousarray(make_scene(1).image[:200, :300])
    with library.open(raw_built, verify_sizes_only=1, threads=1) as host:
        expected = [host.maps(pixels, time_step=step).maps for step in (0, 100)]
    with (
        stand_in.machine(),
        stand_in.open(raw_built, engine=ENGINE, verify_sizes_only=1, threads=1) as opened,
    ):
        for step, one in zip((0, 100), expected, strict=True):
            found = opened.maps(pixels, time_step=step).maps
            assert list(found) == list(one)
            for name, (values, stride) in found.items():
                assert stride == one[name][1]
                # A GPU runs all windows at once.
                distance = np.linalg.norm(values - one[name][0])
                assert distance < 1e-5 * np.linalg.norm(one[name][0]), name


def test_a_session_that_cannot_run_once_more_stays_open(opens: Opens, stand_in: StandIn) -> None:
    with opens() as opened:
        before = stand_in.count("runs")
        opened.segment(np.ascontiguousarray(make_scene(1).image[:8, :8]))
        ran = stand_in.count("runs") - before
        stand_in.set("no more runs", "")
    assert stand_in.count("sessions") == ran


def test_a_run_that_fails_is_named(opens: Opens, stand_in: StandIn) -> None:
    with opens() as opened:
        stand_in.set("no more runs", "")
        with pytest.raises(OdiseError, match=r"stage \w+ failed in onnxruntime: .*Failed to allocate memory"):
            opened.segment(np.ascontiguousarray(make_scene(1).image[:8, :8]))


@pytest.mark.parametrize("content", CONTENTS)
def test_an_engine_that_does_not_open_is_refused_in_the_same_words(
    content: str, library: Library, stand_in: StandIn, built: Path, tmp_path: Path
) -> None:
    expected = refused_in_python(built, tmp_path / "bundle", content)
    with stand_in.machine(), pytest.raises(OdiseError) as found:
        stand_in.open(tmp_path / "bundle", engine=ENGINE)
    assert (found.value.name, found.value.message, found.value.hint) == (
        "BackendError",
        expected.message,
        expected.hint,
    )


def test_bundles_for_other_backends_are_refused(
    library: Library, stand_in: StandIn, small_bundle: Path
) -> None:
    with pytest.raises(OdiseError, match="it was built for openvino, not for onnxruntime_cuda"):
        stand_in.open(small_bundle, engine=ENGINE)


@pytest.mark.parametrize("engine", ["", ENGINE])
def test_a_library_without_the_provider_says_so(
    engine: str, library: Library, small: Path, tmp_path: Path
) -> None:
    if ENGINE not in library.engine_names:
        pytest.skip("libodise_trt was built without CUDA")
    folder = tmp_path / "bundle"
    shutil.copytree(small, folder)
    if not engine:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["backend"] = {"name": ENGINE}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(OdiseError) as found:
        library.open(folder, **({"engine": engine} if engine else {}))
    if "has no CUDAExecutionProvider (it has: " not in found.value.message:
        # The library for GPUs, on a machine without one.
        assert "cudaGetDeviceCount failed" in found.value.message
    assert found.value.name == "BackendError"
    assert found.value.hint
