"""Version-compatible engines on the stand-in: they run their host code only if the manifest names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter
from odise_trt.errors import BackendError, BundleError
from tests.odise_trt import toy_bundle
from tests.stand_in import bundle as stand_in_bundle
from tests.stand_in.tensorrt import VERSION, Machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    stand_in_bundle.install(monkeypatch, made)
    return made


def bundle(folder: Path, **backend: object) -> Path:
    built = {"name": "tensorrt", "version": VERSION, **backend}
    graphs = toy_bundle.make(folder / "toy")
    return stand_in_bundle.make(graphs, folder / "compatible", host_code=True, backend=built)


def test_an_engine_of_an_earlier_version_and_another_gpu_segments(machine: Machine, tmp_path: Path) -> None:
    folder = bundle(
        tmp_path,
        compatible=["version", "hardware"],
        version=VERSION.replace("10.13", "10.12"),
        compute_capability=["12.0"],
    )
    with Segmenter.open(folder, cache=False) as segmenter:
        segmenter.vocabulary = "red; green"
        assert segmenter(np.zeros((128, 160, 3), np.uint8)).panoptic.shape == (128, 160)


def test_host_code_that_the_manifest_does_not_name_is_not_run(machine: Machine, tmp_path: Path) -> None:
    folder = bundle(tmp_path, compatible=["hardware"])
    with pytest.raises(BackendError, match="host code is not allowed"):
        Segmenter.open(folder, cache=False)


def test_an_earlier_version_does_not_open_it(machine: Machine, tmp_path: Path) -> None:
    folder = bundle(tmp_path, compatible=["version"], version="10.99.0")
    with pytest.raises(BundleError, match=r"built by tensorrt 10\.99\.0, this is 10\.13") as caught:
        Segmenter.open(folder, cache=False)
    assert str(caught.value.hint).endswith(" --version-compatible")
