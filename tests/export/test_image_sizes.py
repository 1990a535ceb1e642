"""Bundles for pictures of certain sizes: their axes, their profiles, and graphs with constants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from export.build import build
from export.onnx_export import export_stage
from export.parity import sizes_to_check
from export.stages import all_stages
from export.stages.image_sizes import ImageSize, image_sizes, with_constants
from odise_trt.backends.base import choose_profile
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.errors import BackendError, ExportError
from odise_trt.stage_spec import StageSpec
from reference.checkpoint import load_weights
from reference.preset import ODISE_LABEL
from tests.export.quick_build import Log, make_quick, quick_request
from tests.tiny_preset import TINY

WIDE, TALL = ImageSize(1920, 1080), ImageSize(1080, 1920)


def declared(name: str, *images: ImageSize, windows: int | None = None) -> StageSpec:
    return all_stages()[name].spec(ODISE_LABEL, "fp32", windows, images)


def ranges(spec: StageSpec) -> dict[str, dict[str, tuple[int, int, int]]]:
    return {profile.name: dict(profile.ranges) for profile in spec.profiles}


def test_sizes_are_read_with_the_width_first() -> None:
    assert image_sizes(["1920x1080,1080x1920", "1920x1080"]) == (WIDE, TALL)
    assert str(WIDE) == "1920x1080"


@pytest.mark.parametrize("text", ["", "1920", "1920x", "0x5", "axb", "1920x1080x3", "1920*1080"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ExportError, match="is no size of a picture") as caught:
        image_sizes([text])
    assert "1920x1080" in str(caught.value.hint)


def test_a_size_says_what_follows_from_it() -> None:
    # 1080 becomes 1024, so 1920 becomes 1820, padded to 1856: columns of windows at 0, 512, 1024 and 1344.
    assert WIDE.axes(ODISE_LABEL) == {
        "picture_height": 1024,
        "picture_width": 1820,
        "height": 1024,
        "width": 1856,
        "windows": 8,
        "side": 512,
        "taps": 2,
    }
    assert ImageSize(512, 512).axes(ODISE_LABEL)["taps"] == 1


def test_a_stage_gets_one_profile_for_each_size_and_no_other() -> None:
    assert ranges(declared("mask_head", WIDE, TALL)) == {
        "landscape-1920x1080": {"height": (1024,) * 3, "width": (1856,) * 3},
        "portrait-1080x1920": {"height": (1856,) * 3, "width": (1024,) * 3},
    }
    spec = declared("mask_head", WIDE, TALL)
    assert [(axis.minimum, axis.maximum) for axis in spec.axes] == [(1024, 1856), (1024, 1856)]


def test_a_square_is_one_profile_and_not_both_landscape_and_portrait() -> None:
    assert len(declared("mask_head", ImageSize(700, 700)).profiles) == 1
    # Another size that is the same after the resize needs no profile of its own.
    assert len(declared("mask_head", WIDE, ImageSize(3840, 2160)).profiles) == 1


def test_windows_that_run_in_parts_may_be_fewer_and_those_of_a_whole_picture_may_not() -> None:
    assert ranges(declared("features", WIDE)) == {
        "window-1920x1080": {"windows": (1, 8, 8), "side": (512, 512, 512)}
    }
    (stitched,) = ranges(declared("stitch", WIDE)).values()
    assert stitched["windows"] == (8, 8, 8)
    (alone,) = ranges(declared("features", WIDE, windows=1)).values()
    assert alone == {"windows": (1, 1, 1), "side": (512, 512, 512)}


def test_axes_of_words_and_of_results_stay_as_they_are() -> None:
    usual, (few, *_) = declared("classify"), declared("classify", WIDE).profiles
    assert few.ranges["texts"] == usual.profiles[0].ranges["texts"]
    assert declared("panoptic", WIDE).axis("output_width") == declared("panoptic").axis("output_width")
    assert declared("text_encoder", WIDE) == declared("text_encoder")
    assert declared("paint", WIDE) == declared("paint")


def test_without_sizes_everything_stays_as_it_is() -> None:
    for name, wrapper in all_stages().items():
        assert declared(name) == wrapper.declare(ODISE_LABEL).at("fp32")


@pytest.mark.parametrize("name", all_stages())
def test_a_stage_is_checked_at_every_size_it_is_built_for(name: str) -> None:
    images = (WIDE, TALL)
    spec = declared(name, *images)
    found = sizes_to_check(all_stages()[name], ODISE_LABEL, spec, images)
    for sizes in found:
        choose_profile(spec, sizes)
        for axis in spec.axes:
            assert axis.minimum <= sizes[axis.name] <= axis.maximum
    for image in images:
        follow = {
            key: value for key, value in image.axes(ODISE_LABEL).items() if key in {a.name for a in spec.axes}
        }
        follow.pop("windows", None)
        assert any(follow.items() <= sizes.items() for sizes in found)


def test_a_run_outside_a_profile_names_it_and_the_way_out() -> None:
    with pytest.raises(BackendError, match="no optimisation profile holds height=1856, width=1856") as caught:
        choose_profile(declared("mask_head", WIDE, TALL), {"height": 1856, "width": 1856})
    assert "landscape-1920x1080: height 1024, width 1856" in caught.value.message
    assert "--image-sizes" in str(caught.value.hint)


def test_one_size_becomes_constants_of_the_graph(tmp_path: Path) -> None:
    wrapper, images = all_stages()["classify"], (ImageSize(640, 480),)
    spec = wrapper.spec(TINY, "fp32", None, images)
    whole = with_constants(wrapper.declare(TINY).at("fp32"), spec, images)
    exported = export_stage(wrapper(load_weights(TINY, "random:7")), whole, tmp_path, precision="fp32")
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(exported.path).graph.input
    }
    assert shapes["pred_masks"] == [1, TINY.head.num_queries, 32, 48]
    assert shapes["text_embed"][0] == "texts"


def test_of_two_sizes_only_what_they_share_is_a_constant() -> None:
    spec = declared("stitch", WIDE, TALL)
    graph = with_constants(declared("stitch"), spec, (WIDE, TALL))
    assert {axis.name for axis in graph.axes if axis.minimum == axis.maximum} == {"windows", "side", "taps"}
    assert graph.axis("height") == declared("stitch").axis("height")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


def test_sizes_are_part_of_a_bundle_and_of_the_command_that_repairs_it(quick: None, tmp_path: Path) -> None:
    request = quick_request(tmp_path)
    build(request, Log())
    log = Log()
    (built,) = build(replace(request, image_sizes=(WIDE,)), log)
    assert log.exported() == ["captioner", "clip_pool"]
    manifest = Manifest.read(built.folder)
    assert manifest.tools["image-sizes"] == "1920x1080"
    assert manifest.stage("clip_pool").spec.profiles[0].name == "landscape-1920x1080"
    assert "--image-sizes 1920x1080" in Bundle.open(built.folder).repair_hint()


def test_sizes_that_no_stage_minds_are_refused(quick: None, tmp_path: Path) -> None:
    request = replace(quick_request(tmp_path, image_sizes=(WIDE,)), stages=("text_encoder",))
    with pytest.raises(ExportError, match="--image-sizes does nothing for text_encoder"):
        build(request, Log())
