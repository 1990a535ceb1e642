"""Engines that were built without weights, on the stand-in: `tests/stand_in`.

No GPU has run such an engine. The stand-in knows the order of calls, and which weights a graph has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from odise_trt import Segmenter
from odise_trt.backends.tensorrt import TensorRTBackend
from odise_trt.backends.tensorrt_engine import TensorRTEngine
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import StageEntry
from odise_trt.errors import BackendError, BundleError
from odise_trt.stage_spec import Axis, StageSpec, Tensor
from tests.odise_trt import toy_bundle
from tests.stand_in import bundle as stand_in_bundle
from tests.stand_in.memory import DeviceFaultError
from tests.stand_in.tensorrt import Machine, engine_file

SPEC = StageSpec(
    "scale",
    (Tensor("x", "float32", ("windows", 8)),),
    (Tensor("y", "float32", ("windows", 8)),),
    (Axis("windows", 1, 2, 4),),
    (),
)
WEIGHTS = ("weight", "bias")


class Setup:
    """A backend on the stand-in, and an engine whose weights lie in a graph with a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.machine = folder, Machine()
        self.cuda = self.machine.cuda()
        self.backend = TensorRTBackend("tensorrt", self.machine.module(), self.cuda)
        nodes = [
            helper.make_node("Mul", ["x", "weight"], ["scaled"]),
            helper.make_node("Add", ["scaled", "bias"], ["y"]),
        ]
        values = {name: np.full(8, value, np.float32) for name, value in zip(WEIGHTS, (3, 1), strict=True)}
        self.write(toy_bundle.model(SPEC, nodes, **values))

    def write(self, model: onnx.ModelProto) -> None:
        onnx.save(
            model,
            self.folder / "scale.onnx",
            save_as_external_data=True,
            location="scale.onnx.data",
            size_threshold=0,
        )

    def open(
        self,
        weights: Sequence[str] | None = WEIGHTS,
        takes: bool = True,
        content: bytes | None = None,
    ) -> TensorRTEngine:
        # The graph that the engine was built from is gone: it has to take that of the bundle.
        gone = self.folder / "gone.onnx" if takes else self.folder / "scale.onnx"
        made = engine_file(gone, SPEC, weights=weights) if content is None else content
        (self.folder / "scale.engine").write_bytes(made)
        files = ("scale.engine", "scale.onnx", "scale.onnx.data")
        entry = StageEntry(
            SPEC, "scale.engine", files, "", 0.0, 0, weights_from="scale.onnx" if takes else None
        )
        return self.backend.open_stage(self.folder, entry)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_an_engine_takes_the_weights_of_its_graph_before_it_has_a_context(setup: Setup) -> None:
    engine = setup.open()
    assert engine._engine is not None
    assert engine._engine.contexts == 0
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], 3 * x + 1)


def test_the_stand_in_finds_a_context_of_an_engine_that_has_no_weights(setup: Setup) -> None:
    engine = setup.open(takes=False)
    with pytest.raises(DeviceFaultError, match="has no weights yet: weight, bias"):
        engine.run({"x": np.zeros((1, 8), np.float32)})


def test_the_stand_in_finds_weights_that_come_after_a_context(setup: Setup) -> None:
    engine = setup.open(weights=None, takes=False)
    with setup.cuda.current():
        engine.run({"x": np.zeros((1, 8), np.float32)})
        with pytest.raises(DeviceFaultError, match="contexts, which know other weights"):
            setup.machine.module().Refitter(engine._engine, None)


def test_weights_that_a_graph_lacks_are_named_with_the_way_out(setup: Setup) -> None:
    lacking = [*WEIGHTS, "", *(f"more_{number}" for number in range(6))]
    with pytest.raises(BackendError) as caught:
        setup.open(lacking)
    assert caught.value.message.endswith(
        "scale.engine does not get its weights from scale.onnx, which lacks one without a name, more_0,"
        " more_1, more_2, more_3 and 2 more: not all weights were refitted"
    )
    assert caught.value.hint == "build the stage again, or without --strip-weights"


def test_missing_weights_are_found_even_if_nobody_says_which(setup: Setup) -> None:
    setup.machine.hides_missing = True
    with pytest.raises(BackendError, match=r"from scale\.onnx: not all weights were refitted"):
        setup.open([*WEIGHTS, "more"])


def test_what_tensorrt_says_of_weights_that_it_refuses_is_in_the_error(setup: Setup) -> None:
    setup.machine.refit_fails = True
    with pytest.raises(BackendError, match=r"does not get its weights from scale\.onnx: refit failed"):
        setup.open()


def test_a_refitter_that_cannot_be_made_is_an_error_of_the_backend(setup: Setup) -> None:
    def none(engine: object, logger: object) -> None:
        raise TypeError("factory function returned nullptr")

    setup.backend._flavour.module.Refitter = none
    with pytest.raises(BackendError, match=r"scale\.engine cannot be given weights: factory function"):
        setup.open()


@pytest.mark.parametrize("weights", [None, ()], ids=["it has its own", "it needs none"])
def test_an_engine_that_needs_no_weights_runs_as_it_is(setup: Setup, weights: Sequence[str] | None) -> None:
    setup.machine.refit_fails = True
    content = engine_file(setup.folder / "scale.onnx", SPEC, weights=weights)
    x = np.ones((1, 8), np.float32)
    np.testing.assert_array_equal(setup.open(content=content).run({"x": x})["y"], 4 * x)


def test_a_refused_engine_leaves_no_memory(setup: Setup) -> None:
    with pytest.raises(BackendError):
        setup.open([*WEIGHTS, "more"])
    setup.backend.close()
    assert set(setup.cuda.alive().values()) == {0}


def test_a_bundle_without_weights_in_its_engines_segments_like_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_bundle.install(monkeypatch, Machine())
    graphs = toy_bundle.make(tmp_path / "toy")
    picture = np.zeros((128, 160, 3), np.uint8)
    picture[20:90, 30:100, 0] = 255
    maps = []
    for stripped in (False, True):
        folder = stand_in_bundle.make(graphs, tmp_path / f"stripped-{stripped}", stripped=stripped)
        with Segmenter.open(folder, cache=False) as segmenter:
            segmenter.vocabulary = "red; green"
            maps.append(segmenter(picture).panoptic)
    np.testing.assert_array_equal(*maps)


def test_a_changed_graph_is_found_before_an_engine_takes_weights(tmp_path: Path) -> None:
    graphs = toy_bundle.make(tmp_path / "toy")
    folder = stand_in_bundle.make(graphs, tmp_path / "stripped", stripped=True)
    path = folder / "features.onnx"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"features\.onnx was changed") as caught:
        Bundle.open(folder)
    assert "--stage features" in str(caught.value.hint)


def test_other_stages_of_the_bundle_may_have_their_weights(setup: Setup) -> None:
    engine = setup.open(weights=None, takes=False)
    x = np.ones((1, 8), np.float32)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], 4 * x)
