"""The optional stage `raw_features`: declared, built on request, and as exact as the others."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from rich.console import Console

from export import prepared
from export.build import build
from export.checked_export import Task, export_checked, load_model
from export.console import ConsoleReporter
from export.parity import check_sizes
from export.plan import Request, plan
from export.stages import OPTIONAL_STAGES, STAGES, all_stages
from odise_trt import Segmenter
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.bundle.rebuild import rebuild_command
from odise_trt.errors import ExportError
from odise_trt.executor import Executor
from odise_trt.extraction import extract
from odise_trt.features import Features
from odise_trt.features.names import PROJECTED, RAW, RAW_STAGE
from odise_trt.stage_spec import Tensor
from reference.checkpoint import load_weights
from reference.features.maps import feature_maps
from reference.model import ODISE
from reference.preset import DEMO, ODISE_LABEL, PRESETS
from tests.export.small_diffusion import SmallDiffusion
from tests.odise_trt import toy_bundle
from tests.tiny_preset import TINY


def test_the_stage_declares_eight_maps_and_takes_the_step() -> None:
    spec = OPTIONAL_STAGES[RAW_STAGE].declare(ODISE_LABEL).at("fp16")
    features = STAGES["features"].declare(ODISE_LABEL).at("fp16")
    assert spec.inputs == (*features.inputs, Tensor("time_step", "int64", (1,)))
    shapes = ((512, 4), (512, 8), (2560, 64), (1920, 32), (960, 16), (640, 8), (512, 8), (512, 4))
    assert spec.outputs == tuple(
        Tensor(name, "float16", ("windows", channels, f"side/{stride}", f"side/{stride}"))
        for name, (channels, stride) in zip(RAW, shapes, strict=True)
    )
    assert (spec.axes, spec.profiles) == (features.axes, features.profiles)
    spec.check()


def test_a_build_makes_it_only_if_it_is_named() -> None:
    assert RAW_STAGE not in Request("demo", "demo").stage_names()
    assert Request("demo", "demo", stages=(RAW_STAGE,)).stage_names() == (RAW_STAGE,)
    assert Request("demo", "demo", extra=(RAW_STAGE,)).stage_names() == (*STAGES, RAW_STAGE)
    both = Request("demo", "demo", stages=("captioner",), extra=(RAW_STAGE,))
    assert both.stage_names() == ("captioner", RAW_STAGE)
    with pytest.raises(ExportError, match="no stage 'captioner'"):
        Request("demo", "demo", extra=("captioner",)).stage_names()


def test_a_build_of_all_stages_renews_the_optional_stages_of_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.read(toy_bundle.make(tmp_path / "toy", raw=True))
    monkeypatch.setattr(prepared, "existing", lambda *_: manifest)
    weights = {"source": "demo", "sha256": "0" * 64, "seeded": False}
    request = Request("demo", "demo", output=tmp_path)
    asked = prepared._with_optional_stages(request, plan(request), weights)  # type: ignore[arg-type]
    assert asked.stage_names() == (*STAGES, RAW_STAGE)
    single = replace(request, stages=("captioner",))
    assert prepared._with_optional_stages(single, plan(single), weights) == single  # type: ignore[arg-type]


def test_the_command_that_rebuilds_a_bundle_names_its_optional_stages(tmp_path: Path) -> None:
    with_raw = toy_bundle.make(tmp_path / "raw", raw=True)
    assert "--with raw_features" in rebuild_command(with_raw, Manifest.read(with_raw))
    assert "--with" not in rebuild_command(with_raw, Manifest.read(with_raw), ["captioner"])
    plain = toy_bundle.make(tmp_path / "plain")
    assert "--with" not in rebuild_command(plain, Manifest.read(plain))


@pytest.fixture(scope="module")
def small() -> ODISE:
    """The tiny model with a diffusion model of single convolutions."""
    model = load_weights(TINY, "random:3")
    torch.manual_seed(0)
    model.backbone.diffusion = SmallDiffusion(TINY).eval()  # type: ignore[assignment]
    return model


@pytest.fixture(scope="module")
def bundle(small: ODISE, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The captioner and the optional stage, built and checked as always."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setattr("export.build.load_model", lambda _: small)
        request = Request(
            *("tiny", "random:3"),
            stages=("captioner",),
            extra=(RAW_STAGE,),
            output=tmp_path_factory.mktemp("tiny"),
        )
        with ConsoleReporter(Console(quiet=True)) as reporter:
            (built,) = build(request, reporter)
    assert built.missing == tuple(name for name in STAGES if name != "captioner")
    return Bundle.open(built.folder)


def test_it_goes_through_the_parity_gate_and_is_standard(bundle: Bundle) -> None:
    assert [entry.spec.name for entry in bundle.manifest.stages] == ["captioner", RAW_STAGE]
    rows = [row for row in bundle.manifest.parity if row.stage == RAW_STAGE]
    assert {row.tensor for row in rows} == set(RAW)
    assert len(rows) == len(RAW) * len(check_sizes(all_stages()[RAW_STAGE].declare(TINY)))
    assert all(row.passed for row in rows)
    graph = onnx.load(bundle.folder / f"{RAW_STAGE}.onnx").graph
    assert {node.domain for node in graph.node} == {""}


@pytest.mark.slow
def test_in_half_precision_the_step_stays_exact(small: ODISE, tmp_path: Path) -> None:
    request = Request("tiny", "random:3", output=tmp_path)
    exported = export_checked(small, Task(RAW_STAGE, "fp16"), request, tmp_path)
    assert all(row.passed for row in exported.rows)
    # Neighbouring steps differ by a thousandth, which half precision would round away.
    session = onnxruntime.InferenceSession(exported.graph.path, providers=["CPUExecutionProvider"])
    half = {
        "windows": np.zeros((1, 3, 128, 128), np.float32),
        "cond_inputs": np.zeros((1, 77, 32), np.float16),
        "cond_emb": np.zeros((1, 128), np.float16),
    }
    first, second = (session.run(["un11"], {**half, "time_step": np.array([t])})[0] for t in (600, 601))
    assert (first != second).mean() > 0.5


@pytest.mark.parametrize("time_step", [1, 100, 999])
@pytest.mark.parametrize("shape", [(128, 300), (40, 200)], ids=["windows that overlap", "a strip"])
def test_engines_give_the_raw_features_of_the_reference(
    time_step: int, shape: tuple[int, int], small: ODISE, bundle: Bundle
) -> None:
    image = np.random.default_rng(time_step).integers(0, 256, (*shape, 3), np.uint8)
    executor = Executor.open(bundle, stages=("captioner",), threads=1)
    try:
        found = extract(
            executor, bundle, image, RAW, short_side=None, max_side=None, time_step=time_step, batch=2
        )
    finally:
        executor.close()
    check(found, feature_maps(small, image, RAW, time_step=time_step))
    assert found.image_size == shape


def check(found: Features, expected: Features) -> None:
    assert list(found.maps) == list(expected.maps)
    assert (found.strides, found.size) == (expected.strides, expected.size)
    assert found.image_size == expected.image_size
    for name, values in found.maps.items():
        assert values.shape == expected.maps[name].shape
        distance = np.linalg.norm(values - expected.maps[name]) / np.linalg.norm(expected.maps[name])
        assert distance < 1e-4, name


def test_engines_give_the_projected_features_of_the_reference(demo_bundle: Path) -> None:
    image = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    with Segmenter.open(demo_bundle, cache=False) as segmenter:
        found = segmenter.features(image, short_side=150)
    check(found, feature_maps(load_weights(DEMO, "demo"), image, PROJECTED, short_side=150))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_stage_of_the_demo_model_agrees_with_the_reference(precision: str, tmp_path: Path) -> None:
    request = Request("demo", "demo", output=tmp_path)
    exported = export_checked(load_model(request), Task(RAW_STAGE, precision), request, tmp_path)
    assert {row.tensor for row in exported.rows} == set(RAW)
    assert all(row.passed for row in exported.rows)


@pytest.mark.slow
def test_engines_of_the_demo_model_give_the_raw_features_of_the_reference(
    demo_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(demo_bundle, tmp_path / demo_bundle.name)
    request = Request("demo", "demo", stages=(RAW_STAGE,), output=tmp_path)
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (built,) = build(request, reporter)
    assert built.missing == ()
    image = np.random.default_rng(5).integers(0, 256, (90, 120, 3), np.uint8)
    model = load_weights(DEMO, "demo")
    with Segmenter.open(built.folder, cache=False) as segmenter:
        for time_step in (0, 100):
            found = segmenter.features(image, RAW, time_step=time_step)
            check(found, feature_maps(model, image, RAW, time_step=time_step))
