"""A stage is quantized on what reaches it when the reference segments pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from export.build import build
from export.onnx_export import export_stage
from export.plan import Request
from export.quantizing.calibration import inputs_of
from export.quantizing.plan import plan_quantizing
from export.quantizing.stage import quantize_stage
from export.stages.clip_pool import ClipPool
from odise_trt.bundle import Bundle
from reference.scenes import make_scene
from tests.export.quantizing import stand_in_modelopt as stand_in
from tests.export.quick_build import Log, make_quick, model_of
from tests.tiny_preset import TINY

#: The Python of an environment with ModelOpt.
MODELOPT = os.environ.get("ODISE_MODELOPT_PYTHON")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in (1, 2):
        Image.fromarray(make_scene(seed, 96, 160).image).save(folder / f"{seed}.png")
    return folder


def test_the_inputs_of_stages_are_those_of_the_reference(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quick(monkeypatch)
    model = model_of("random:7").eval()
    found = list(inputs_of(model, pictures / "1.png", ("features", "clip_pool")))
    windows = [arrays for stage, arrays in found if stage == "features"]
    assert [stage for stage, _ in found] == ["features"] * len(windows) + ["clip_pool"]
    assert len(windows) > 1
    side = TINY.window
    assert {arrays["windows"].shape for arrays in windows} == {(1, 3, side, side)}
    assert {arrays["cond_emb"].dtype for arrays in windows} == {np.dtype("float16")}
    with torch.inference_mode():
        cond_inputs, _ = model.captioner(torch.from_numpy(windows[1]["windows"]))
    np.testing.assert_allclose(windows[1]["cond_inputs"], cond_inputs.numpy(), atol=2e-3)
    masks = found[-1][1]["pred_masks"]
    assert masks.shape[:2] == (1, TINY.head.num_queries)
    assert masks.dtype == np.float32
    assert len(model.backbone._forward_pre_hooks) == 0


@pytest.mark.slow
def test_a_stage_is_quantized_and_says_what_each_layer_loses(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_quick(monkeypatch)
    model = model_of("random:7").eval()
    spec = ClipPool.spec(TINY, "int8")
    half = export_stage(ClipPool(model).eval(), spec, tmp_path / "work", precision="fp16")
    before = {node.name for node in onnx.load(half.path).graph.node}
    quantizing = plan_quantizing("int8", ["clip_pool"], pictures, stand_in.make(tmp_path / "env"))
    assert quantizing is not None
    told: list[tuple[str, int, int]] = []
    found = quantize_stage(
        model, spec, half, "int8", quantizing, tmp_path / "work", lambda *phase: told.append(phase)
    )
    assert found.graph.path == half.path
    names = [node.name for node in onnx.load(half.path).graph.node]
    assert before < set(names)
    assert (
        found.graph.operators["QuantizeLinear"]
        == len(names) - len(before) - found.graph.operators["DequantizeLinear"]
    )
    layers = found.precision_map["layers"]
    assert isinstance(layers, list)
    assert found.precision_map["int8"] == [f"{len(layers)} of {len(layers) + 2} layers with weights"]
    assert all(0 < layer["error"] < 1 for layer in layers)
    phases = list(dict.fromkeys(name for name, _, _ in told))
    assert phases == ["pictures", "ModelOpt", "layers"]
    for phase in phases:
        steps = [(done, total) for name, done, total in told if name == phase]
        assert [done for done, _ in steps] == list(range(steps[-1][1] + 1))
    # Nothing of the job stays.
    assert {path.name for path in half.path.parent.iterdir()} == {"clip_pool.onnx", "calibration"}


@pytest.mark.slow
@pytest.mark.skipif(MODELOPT is None, reason="ODISE_MODELOPT_PYTHON names no Python with NVIDIA ModelOpt")
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_the_real_modelopt_quantizes_a_stage_of_the_demo_model(
    pictures: Path, tmp_path: Path, precision: str
) -> None:
    assert MODELOPT is not None
    request = Request(
        "demo",
        "demo",
        precision=precision,
        stages=("clip_pool",),
        output=tmp_path,
        calibration=pictures,
        modelopt=Path(MODELOPT),
    )
    (built,) = build(request, Log())
    bundle = Bundle.open(built.folder)
    found = bundle.manifest.precision_map["clip_pool"]
    assert found[precision] == ["32 of 34 layers with weights"]
    assert max(layer["error"] for layer in found["layers"]) < {"int8": 0.03, "fp8": 0.06}[precision]
    assert {row.tolerance for row in bundle.manifest.parity} == {{"int8": 0.1, "fp8": 0.2}[precision]}
    assert "clip_pool_15" in (bundle.folder / "layers.html").read_text()
    assert "--calibration" in bundle.repair_hint()
    (again,) = build(request, Log())
    assert again.stages == ()
