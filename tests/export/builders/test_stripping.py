"""Engines of TensorRT for RTX without weights, which it does not build without a GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from export.builders import open_builder
from export.builders.tensorrt import _config, build_engine
from odise_trt.backends import find_backend
from odise_trt.backends.cuda import open_cuda
from odise_trt.errors import BackendError, ExportError
from odise_trt.stage_spec import Axis, Profile, StageSpec, Tensor
from tests.door import call, verb
from tests.odise_trt import toy_bundle

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)


def has_gpu() -> bool:
    try:
        open_cuda().close()
    except BackendError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU")


@needs_rtx
@pytest.mark.parametrize("stripped", [False, True])
def test_weights_are_left_out_for_the_same_weights_only(stripped: bool) -> None:
    flavour = find_backend("tensorrt_rtx").load()
    config = _config(flavour, flavour.Builder(flavour.Logger()), stripped)
    flags = flavour.BuilderFlag
    assert [config.get_flag(flag) for flag in (flags.STRIP_PLAN, flags.REFIT_IDENTICAL)] == [stripped] * 2
    # It would allow other weights as well, and may lose biases.
    assert not config.get_flag(flags.REFIT)


@needs_rtx
@without_gpu
def test_without_a_gpu_it_is_refused_with_the_reason_before_any_work(tmp_path: Path) -> None:
    options = ("--backend", "tensorrt_rtx", "--strip-weights", "--output", tmp_path / "engines")
    for more in (("--dry-run",), ("--target", "sm89")):
        done = call(verb("export.cli:build"), *options, *more)
        assert done.status == 1
        assert "leaves weights out only where it finds a GPU" in done.stderr
        assert "fails with an internal error" in done.stderr
        assert "leave --strip-weights out" in done.stderr
    assert not (tmp_path / "engines").exists()
    assert open_builder(find_backend("tensorrt_rtx"), ()) is not None


@needs_rtx
@without_gpu
def test_the_reason_still_holds(tmp_path: Path) -> None:
    """When this fails, a newer TensorRT for RTX does it, and `require_gpu` may go."""
    side = Tensor("x", "float32", ("rows", 64)), Tensor("y", "float32", ("rows", 64))
    profile = Profile("rows", {"rows": (1, 2, 4)})
    spec = StageSpec("product", side[:1], side[1:], (Axis("rows", 1, 2, 4),), (profile,))
    weight = np.random.default_rng(1).random((64, 64), np.float32)
    node = helper.make_node("MatMul", ["x", "weight"], ["y"])
    graph = tmp_path / "product.onnx"
    onnx.save(toy_bundle.model(spec, [node], weight=weight), graph)
    with pytest.raises(ExportError, match="Myelin"):
        build_engine(
            find_backend("tensorrt_rtx").load(),
            spec,
            graph,
            tmp_path / "product.engine",
            strip_weights=True,
        )
