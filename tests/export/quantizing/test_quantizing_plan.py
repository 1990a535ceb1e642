"""What a quantized build lacks is said before any work. What decides its graphs is in their keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from export.options import check
from export.plan import Request, Target, plan, stage_keys, tools
from export.quantizing.gpus import require_gpu
from odise_trt.backends.registry import BACKENDS
from odise_trt.errors import BackendError, ExportError, ImageError, OdiseError
from reference.checkpoint import describe_weights
from tests.export.quantizing import stand_in_modelopt as stand_in
from tests.export.quick_build import make_quick, quick_request


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for shade in (10, 200):
        Image.new("RGB", (64, 64), (shade, 0, 0)).save(folder / f"{shade}.png")
    return folder


@pytest.fixture
def request_(tmp_path: Path, pictures: Path) -> Request:
    python = stand_in.make(tmp_path / "env")
    return quick_request(tmp_path / "engines", precision="int8", calibration=pictures, modelopt=python)


def keys(request: Request) -> dict[str, str]:
    (target,) = plan(request)
    return stage_keys(request, target, describe_weights("tiny", request.weights))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibration": None}, "int8 needs pictures .*\n.*give --calibration DIR"),
        (
            {"modelopt": None},
            "int8 needs NVIDIA ModelOpt.*\n.*--modelopt-python PYTHON; make its environment: python",
        ),
        ({"precision": "fp16"}, "--calibration does nothing for fp16"),
        ({"precision": "fp16", "calibration": None}, "--modelopt-python does nothing for fp16"),
        ({"precision": None}, "--calibration does nothing for fp32"),
        ({"stages": ("captioner",)}, "--calibration does nothing for these stages"),
    ],
)
def test_an_option_that_is_missing_or_does_nothing_is_refused(
    request_: Request, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        check(replace(request_, **options))  # type: ignore[arg-type]


def test_a_quantized_build_with_all_that_it_needs_passes(request_: Request) -> None:
    check(request_)
    check(replace(request_, stages=("captioner",), calibration=None, modelopt=None))


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_pictures_is_refused(request_: Request, tmp_path: Path, there: bool) -> None:
    empty = tmp_path / "empty"
    if there:
        empty.mkdir()
    expected = ImageError if there else ExportError
    with pytest.raises(expected, match="empty"):
        plan(replace(request_, calibration=empty))


def test_the_bundle_says_its_precision_and_how_it_is_built_again(request_: Request, pictures: Path) -> None:
    (target,) = plan(request_)
    assert target.folder.name == "tiny-onnxruntime-int8"
    found = tools(request_, target)
    assert found["calibration"] == str(pictures)
    assert found["modelopt-python"] == str(request_.modelopt)


def test_another_picture_changes_the_keys_of_quantized_stages_only(request_: Request, pictures: Path) -> None:
    before = keys(request_)
    Image.new("RGB", (64, 64), (11, 0, 0)).save(pictures / "10.png")
    after = keys(request_)
    assert {name for name in before if before[name] != after[name]} == {"clip_pool"}


def test_another_modelopt_changes_them(request_: Request, tmp_path: Path) -> None:
    before = keys(request_)
    newer = stand_in.make(tmp_path / "newer", versions={**stand_in.VERSIONS, "nvidia_modelopt": "0.48.0"})
    after = keys(replace(request_, modelopt=newer))
    assert {name for name in before if before[name] != after[name]} == {"clip_pool"}


def test_the_same_pictures_in_another_place_change_no_key(request_: Request, pictures: Path) -> None:
    before = keys(request_)
    moved = pictures.with_name("moved")
    pictures.rename(moved)
    assert keys(replace(request_, calibration=moved)) == before


def test_int8_and_fp8_differ_in_the_quantized_stage(request_: Request) -> None:
    one, other = keys(request_), keys(replace(request_, precision="fp8"))
    assert one["clip_pool"] != other["clip_pool"]


@pytest.mark.parametrize(
    ("precision", "numbers", "message"),
    [
        ("fp8", ["8.6"], "compute capability 8.6 have no fp8, which begins with 8.9\n.*int8, or fp16"),
        ("fp8", ["7.5", "8.9", "8.0"], "7.5, 8.0 have no fp8"),
        ("fp8", [], "not for any GPU\n.*--target sm89,sm120"),
        ("int8", ["7.0"], "7.0 have no int8"),
    ],
)
def test_a_gpu_without_the_arithmetic_is_refused(precision: str, numbers: list[str], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        require_gpu(precision, {"name": "tensorrt_rtx", "compute_capability": numbers})


@pytest.mark.parametrize(
    ("precision", "numbers"),
    [("fp8", ["8.9"]), ("fp8", ["9.0", "10.0", "12.0"]), ("int8", ["7.5"]), ("int8", []), ("fp16", [])],
)
def test_a_gpu_with_the_arithmetic_passes(precision: str, numbers: list[str]) -> None:
    require_gpu(precision, {"name": "tensorrt_rtx", "compute_capability": numbers})
    require_gpu(precision, {"name": "onnxruntime"})


def test_quantized_precisions_are_never_a_default_and_openvino_has_none() -> None:
    assert {entry.precision for entry in BACKENDS.values()} == {"fp32", "fp16"}
    having = {name for name, entry in BACKENDS.items() if "fp8" in entry.precisions}
    assert having == {"onnxruntime", "tensorrt", "tensorrt_rtx"}
    assert having == {name for name, entry in BACKENDS.items() if "int8" in entry.precisions}


def test_onnxruntime_refuses_to_run_them_on_a_gpu() -> None:
    from odise_trt.backends import open_backend

    with pytest.raises(BackendError, match="int8 graphs on the CPU only, to measure what they lose"):
        open_backend("onnxruntime", precision="int8", device="cuda")


def test_a_plan_without_options_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OdiseError, match="needs pictures"):
        plan(quick_request(tmp_path, precision="fp8"))


def test_the_target_of_another_precision_quantizes_nothing(tmp_path: Path) -> None:
    targets: tuple[Target, ...] = plan(quick_request(tmp_path))
    assert [target.quantizing for target in targets] == [None]
