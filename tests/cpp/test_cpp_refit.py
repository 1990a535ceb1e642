"""Engines without weights in C++, on the stand-in: its library for graphs is really loaded, by name.

No GPU has run such an engine. What decides, and what it says, is the code that TensorRT's engines run, too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import OdiseError, Segmenter
from tests.cpp.stand_in import Opens, StandIn, assert_the_same, set_words
from tests.cpp.stripped import strip, weights_of

pytestmark = pytest.mark.slow

AGAIN = "build the stage again, or without --strip-weights"
#: Its engine is opened with the vocabulary, all others with the bundle.
ENCODER = "text_encoder"
#: A library that no machine has.
NOTHING = "libodise_no_such_parser.so.9"


@pytest.fixture(scope="module")
def stripped(gpu_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strip(gpu_bundle, tmp_path_factory.mktemp("stripped") / "bundle")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.ascontiguousarray(make_scene(1).image[:200, :256])


def refused(stand_in: StandIn, folder: Path, *wrong: tuple[str, str]) -> OdiseError:
    """Open a bundle that cannot be opened, on a machine where this is wrong. Nothing is left on it."""
    with stand_in.machine():
        for what, stage in wrong:
            stand_in.set(what, stage)
        with pytest.raises(OdiseError) as caught:
            stand_in.open(folder, verify_sizes_only=1, threads=1)
    assert caught.value.name == "BackendError"
    return caught.value


def test_a_bundle_without_weights_in_its_engines_segments_like_another(
    stripped: Path, opens: Opens, stand_in: StandIn, host: Segmenter, pixels: np.ndarray
) -> None:
    with opens(folder=stripped) as opened:
        graphs = {path.stem: onnx.load(path) for path in stripped.glob("*.onnx")}
        need = [name for name, graph in graphs.items() if weights_of(graph)]
        assert ENCODER in need
        assert len(need) < len(graphs)
        assert stand_in.count("refitted") == len(need)
        for _ in range(3):  # The third one is a recorded graph.
            assert_the_same(opened.segment(pixels), host.segment(pixels))
        set_words(opened, SCENE_VOCABULARY)
        assert stand_in.count("refitted") == len(need) + 1


def test_the_weights_are_those_of_the_graph(
    gpu_bundle: Path, tmp_path: Path, opens: Opens, host: Segmenter, pixels: np.ndarray
) -> None:
    def double(model: onnx.ModelProto) -> None:
        name = "captioner.clip.visual.proj"
        (one,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one) * 2, name))

    expected = host.features(pixels)
    for changes in ({}, {"captioner": double}):
        folder = strip(gpu_bundle, tmp_path / str(len(changes)), changes=changes)
        with opens(folder=folder) as opened:
            found = opened.features(pixels)
        same = [np.allclose(values, expected[name][0], atol=1e-5) for name, (values, _) in found.items()]
        assert all(same) is (not changes)


def test_weights_that_a_graph_lacks_are_named_with_the_way_out(
    gpu_bundle: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    lacking = {"mask_head": ["", *(f"more_{number}" for number in range(6))]}
    folder = strip(gpu_bundle, tmp_path / "bundle", lacking=lacking)
    error = refused(stand_in, folder)
    begin = f"{folder}/mask_head.engine does not get its weights from mask_head.onnx"
    named = ", which lacks one without a name, more_0, more_1, more_2, more_3 and 2 more"
    assert error.message == f"{begin}{named}: not all weights were refitted"
    assert error.hint == AGAIN
    assert refused(stand_in, folder, ("silent", "mask_head")).message == begin + named
    hidden = refused(stand_in, folder, ("hides missing", "mask_head"))
    assert hidden.message == f"{begin}: not all weights were refitted"
    both = refused(stand_in, folder, ("hides missing", "mask_head"), ("silent", "mask_head"))
    assert both.message == f"{begin}: no reason given"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no refitter", "features.engine cannot be given weights: no refitter"),
        ("no parser", "features.engine cannot be given weights: no parser"),
        ("refuses weights", "features.engine does not get its weights from features.onnx: refuses weights"),
    ],
)
def test_what_the_library_refuses_is_an_error_with_its_words(
    what: str, words: str, stripped: Path, stand_in: StandIn
) -> None:
    error = refused(stand_in, stripped, (what, "features"))
    assert (error.message, error.hint) == (f"{stripped}/{words}", AGAIN)


def test_a_graph_that_cannot_be_read_is_an_error_with_the_words_of_the_library(
    gpu_bundle: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    folder = strip(gpu_bundle, tmp_path / "bundle")
    graph = folder / "features.onnx"
    size = graph.stat().st_size
    graph.unlink()
    graph.write_bytes(b"\xff" * size)
    error = refused(stand_in, folder)
    assert error.message.startswith(
        f"{folder}/features.engine does not get its weights from features.onnx, which lacks features."
    )
    assert error.message.endswith(" more: the graph cannot be read")


def test_a_parser_that_is_missing_is_an_error_with_the_way_out(stripped: Path, stand_in: StandIn) -> None:
    error = refused(stand_in, stripped, ("parser", NOTHING))
    begin = f".engine cannot be given weights: {NOTHING}: cannot open shared object file"
    assert begin in error.message
    assert error.hint == (
        "it is a part of the stand-in: name its folder in LD_LIBRARY_PATH,"
        " or build the stage again without --strip-weights"
    )
    other = refused(stand_in, stripped, ("parser", "libm.so.6"))
    assert other.message == "libm.so.6 has no function odise_stand_in_initializers"


def test_engines_that_need_no_weights_open_without_the_parser(
    gpu_bundle: Path, tmp_path: Path, stand_in: StandIn, pixels: np.ndarray, host: Segmenter
) -> None:
    need = {path.stem for path in gpu_bundle.glob("*.onnx") if weights_of(onnx.load(path))}
    folder = strip(gpu_bundle, tmp_path / "bundle", whole=need)
    with stand_in.machine():
        stand_in.set("parser", NOTHING)
        with stand_in.open(folder, verify_sizes_only=1, threads=1) as opened:
            set_words(opened, SCENE_VOCABULARY)
            assert_the_same(opened.segment(pixels), host.segment(pixels))
        assert stand_in.count("refitted") == 0


def test_an_engine_that_nobody_gives_weights_makes_no_context(
    gpu_bundle: Path, tmp_path: Path, opens: Opens, pixels: np.ndarray
) -> None:
    folder = strip(gpu_bundle, tmp_path / "bundle", unnamed={"mask_head"})
    with opens(folder=folder) as opened, pytest.raises(OdiseError) as caught:
        opened.segment(pixels)
    assert caught.value.message == (
        "stage mask_head: stand_in could not make an execution context: the engine has no weights"
    )


def test_the_text_encoder_takes_its_weights_with_every_vocabulary(
    stripped: Path, stand_in: StandIn, pixels: np.ndarray, host: Segmenter
) -> None:
    with stand_in.machine(), stand_in.open(stripped, verify_sizes_only=1, threads=1) as opened:
        stand_in.set("refuses weights", ENCODER)
        with pytest.raises(OdiseError, match=r"text_encoder\.engine does not get its weights from text_enc"):
            set_words(opened, SCENE_VOCABULARY)
        # A segmenter of other words goes on as before.
        stand_in.set("refits well", ENCODER)
        set_words(opened, SCENE_VOCABULARY)
        assert_the_same(opened.segment(pixels), host.segment(pixels))


def test_a_changed_graph_is_found_before_an_engine_takes_weights(
    gpu_bundle: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    folder = strip(gpu_bundle, tmp_path / "bundle")
    graph = folder / "features.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.unlink()
    graph.write_bytes(content)
    with stand_in.machine(), pytest.raises(OdiseError, match=r"features\.onnx was changed") as caught:
        stand_in.open(folder, threads=1)
    assert caught.value.name == "BundleError"
    assert "--stage features" in caught.value.hint
    assert stand_in.count("refitted") == 0


def test_engines_take_weights_in_many_threads_at_once(
    stripped: Path, stand_in: StandIn, pixels: np.ndarray, host: Segmenter
) -> None:
    expected = host.segment(pixels)

    def work(number: int) -> None:
        with stand_in.open(stripped, gpu=number % 2, verify_sizes_only=1, threads=1) as opened:
            # The encoder of one thread takes its weights while the other one segments.
            with ThreadPoolExecutor(2) as pool:
                set_words(opened, SCENE_VOCABULARY)
                encoding = pool.submit(set_words, opened, SCENE_VOCABULARY)
                found = pool.submit(opened.segment, pixels).result()
                encoding.result()
            assert_the_same(found, expected)

    with stand_in.machine(), ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
