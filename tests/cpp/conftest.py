"""The library that the tests of this folder drive: the one that `make cpp` built, or one of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from odise_trt import Segmenter
from odise_trt.bundle.manifest import MANIFEST, Manifest
from odise_trt.features.names import RAW_STAGE
from reference.scenes import SCENE_VOCABULARY
from tests.cpp import library as through_c
from tests.cpp.library import Library
from tests.cpp.stand_in import VERSION, Opens, StandIn, set_words
from tests.stand_in import bundle as stand_in_bundle


def openvino_cmake() -> Path | None:
    """The CMake package in OpenVINO's wheel, found without importing it."""
    found = importlib.util.find_spec("openvino")
    if found is None or not found.submodule_search_locations:
        return None
    place = Path(found.submodule_search_locations[0]) / "cmake"
    return place if place.is_dir() else None


def run(*words: object, **options: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="session")
def build(pytestconfig: pytest.Config, root: Path) -> Path:
    """A build of `cpp/`. The variable ODISE_CPP names one, as `make cpp` does."""
    if given := os.environ.get("ODISE_CPP"):
        return root / given
    missing = [tool for tool in ("cmake", "c++", "cc") if shutil.which(tool) is None]
    openvino = openvino_cmake()
    if missing or openvino is None:
        pytest.skip(f"the library cannot be built here: {', '.join(missing) or 'openvino'} is missing")
    assert pytestconfig.cache is not None
    place = pytestconfig.cache.mkdir("cpp")
    headers = os.environ.get("ONNXRUNTIME", "")
    places = f"-DOpenVINO_DIR={openvino}", f"-DODISE_ONNXRUNTIME_ROOT={headers}"
    run("cmake", "-S", root / "cpp", "-B", place, *places, "-DODISE_WERROR=ON")
    run("cmake", "--build", place, "--parallel", 2)
    return place


@pytest.fixture(scope="session")
def library(build: Path) -> Library:
    return Library(build / "libodise_trt.so")


@pytest.fixture(scope="session")
def stand_in(build: Path) -> StandIn:
    """The library with a stand-in for a GPU."""
    return StandIn(build / "tests" / "libodise_trt_stand_in.so")


@pytest.fixture(scope="session")
def small_bundle(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files for OpenVINO, with pictures resized to 128 pixels and not to 256: one or two windows."""
    model = replace(Manifest.read(built).model, short_side=128, max_side=256)
    target = tmp_path_factory.mktemp("small") / "demo-openvino-fp32"
    return stand_in_bundle.copy(built, target, model=model, backend={"name": "openvino"})


@pytest.fixture(scope="session")
def gpu_bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files as a bundle for the stand-in."""
    target = tmp_path_factory.mktemp("gpu") / "demo-stand_in-fp32"
    return stand_in_bundle.copy(small_bundle, target, backend={"name": "stand_in", "version": VERSION})


@pytest.fixture(scope="session")
def host(library: Library, small_bundle: Path) -> Iterator[through_c.Segmenter]:
    """The chain of the host on the same graphs: none is computed by the library itself."""
    with library.open(small_bundle, graphs_only=1, verify_sizes_only=1, threads=1) as opened:
        set_words(opened, SCENE_VOCABULARY)
        yield opened


@pytest.fixture(scope="session")
def opens(stand_in: StandIn, gpu_bundle: Path) -> Opens:
    """Opens the bundle on a new machine."""

    @contextmanager
    def open_it(
        memory: int = 2**31, folder: Path = gpu_bundle, **options: Any
    ) -> Iterator[through_c.Segmenter]:
        with (
            stand_in.machine(memory),
            stand_in.open(folder, verify_sizes_only=1, threads=1, **options) as opened,
        ):
            set_words(opened, SCENE_VOCABULARY)
            yield opened

    return open_it


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, root: Path) -> Path:
    """A demo bundle with ONNX files. ODISE_BUNDLE names one that is there, and saves building it."""
    given = os.environ.get("ODISE_BUNDLE")
    return root / given if given else request.getfixturevalue("demo_bundle")


@pytest.fixture(scope="session")
def raw_built(pytestconfig: pytest.Config, built: Path) -> Path:
    """The demo bundle with the stage `raw_features`. It is built once, and again after changes."""
    from rich.console import Console

    from export.build import build
    from export.console import ConsoleReporter
    from export.plan import Request

    assert pytestconfig.cache is not None
    output = pytestconfig.cache.mkdir("engines_raw")
    if not (output / built.name).exists():
        # Most of a build: only what is missing or changed is made then.
        copy = Path(tempfile.mkdtemp(dir=output)) / built.name
        shutil.copytree(built, copy)
        with suppress(OSError):  # another process was faster
            copy.rename(output / built.name)
        shutil.rmtree(copy.parent)
    request = Request("demo", "demo", extra=(RAW_STAGE,), output=output)
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (made,) = build(request, reporter)
    return made.folder


@pytest.fixture(scope="session")
def raw_bundle(raw_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files as a bundle for OpenVINO."""
    target = tmp_path_factory.mktemp("raw") / "demo-openvino-fp32"
    return stand_in_bundle.copy(raw_built, target, backend={"name": "openvino"})


@pytest.fixture(scope="session")
def raw_segmenter(raw_bundle: Path) -> Iterator[Segmenter]:
    """Python's segmenter on it."""
    with Segmenter.open(raw_bundle, cache=False, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def bundle(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files as a bundle for OpenVINO: both sides run the same engines."""
    folder = tmp_path_factory.mktemp("engines") / "demo-openvino-fp32"
    shutil.copytree(built, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["backend"] = {"name": "openvino"}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def segmenter(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    """Python's segmenter, on OpenVINO."""
    with Segmenter.open(bundle, cache=tmp_path_factory.mktemp("tables"), threads=1) as opened:
        yield opened
