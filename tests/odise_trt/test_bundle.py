"""A bundle is used as it was built, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import toy_bundle

from odise_trt import Bundle, Segmenter
from odise_trt.bundle import BundleWriter, sha256_of, sha256_of_files
from odise_trt.errors import BundleError, OutputError
from odise_trt.manifest import CONSTANTS, MANIFEST, Manifest


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return toy_bundle.make(tmp_path / "toy-onnxruntime-fp32")


def edit_manifest(folder: Path, **changes) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_bundle_opens_and_tells_what_it_holds(toy: Path) -> None:
    bundle = Bundle.open(toy)

    assert bundle.manifest.preset == "toy"
    assert bundle.constants()["null_embed"].shape == (1, toy_bundle.MASK_DIM)


def test_a_changed_byte_is_found_before_the_engine_is_opened(toy: Path) -> None:
    path = toy / "features.onnx"
    built = hashlib.sha256(path.read_bytes()).hexdigest()
    flip_a_byte(path)
    now = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(BundleError) as caught:
        Segmenter.open(toy)
    text = str(caught.value)
    assert f"{path} was changed after it was built" in text
    assert f"expected sha256 {built[:12]}..., found {now[:12]}..." in text
    assert "--preset toy --backend onnxruntime --precision fp32 --weights hand-made --stage features" in text


def test_a_changed_byte_is_found_in_every_file(toy: Path) -> None:
    for name in Bundle.open(toy).manifest.files:
        whole = (toy / name).read_bytes()
        flip_a_byte(toy / name)
        with pytest.raises(BundleError, match=name):
            Bundle.open(toy)
        (toy / name).write_bytes(whole)


def test_all_damaged_files_are_named_with_one_command_for_their_stages(toy: Path) -> None:
    flip_a_byte(toy / "features.onnx")
    (toy / "captioner.onnx").unlink()
    flip_a_byte(toy / CONSTANTS)

    with pytest.raises(BundleError) as caught:
        Bundle.open(toy)
    assert f"{toy / 'captioner.onnx'} is missing" in caught.value.message
    assert f"{toy / 'features.onnx'} was changed after it was built" in caught.value.message
    assert f"{toy / CONSTANTS} was changed after it was built" in caught.value.message
    assert "--stage captioner --stage features --output" in str(caught.value.hint)


def test_damage_outside_the_stages_is_repaired_by_a_whole_build(toy: Path) -> None:
    flip_a_byte(toy / CONSTANTS)

    with pytest.raises(BundleError, match="rebuild it: ") as caught:
        Bundle.open(toy)
    assert "--stage" not in str(caught.value.hint)


def printed_options(hint: str | None) -> list[str]:
    """The options of the command that a hint prints."""
    assert hint is not None
    return shlex.split(hint.removeprefix("rebuild it: python export/build_engines.py "))


def test_the_printed_command_has_the_options_the_bundle_was_built_with(tmp_path: Path) -> None:
    folder = toy_bundle.make(
        tmp_path / "my runs" / "toy-tensorrt_rtx-fp16-sm89-sm120",
        precision="fp16",
        backend={"name": "tensorrt_rtx", "version": "1.7", "compute_capability": ["8.9", "12.0"]},
        tools={"torch": "2.9", "opset": "20", "sampling": "grid_sample"},
    )

    assert printed_options(Bundle.open(folder).repair_hint(["features.onnx"])) == [
        *("--preset", "toy", "--backend", "tensorrt_rtx", "--precision", "fp16", "--weights", "hand-made"),
        *("--stage", "features", "--opset", "20", "--sampling", "grid_sample"),
        *("--compute-capability", "8.9", "--compute-capability", "12.0", "--output", str(folder.parent)),
    ]


def test_the_printed_command_leaves_out_what_a_build_finds_by_itself(tmp_path: Path) -> None:
    engine = {"name": "tensorrt", "version": "10.13", "compute_capability": ["8.9"], "gpu": "L4"}
    usual = {"opset": "21", "sampling": "gather"}
    folder = toy_bundle.make(tmp_path / "toy-tensorrt-fp32-sm89", backend=engine, tools=usual)

    options = printed_options(Bundle.open(folder).repair_hint())
    assert not {"--compute-capability", "--opset", "--sampling"} & set(options)


def test_the_printed_command_does_not_choose_between_the_options_of_two_builds(tmp_path: Path) -> None:
    folder = toy_bundle.make(tmp_path / "toy", tools={"opset": "21 and 20", "sampling": "gather"})

    assert "--opset" not in printed_options(Bundle.open(folder).repair_hint())


def test_a_bundle_for_other_gpus_is_rebuilt_for_the_one_at_hand(tmp_path: Path) -> None:
    backend = {"name": "tensorrt_rtx", "version": "1.7", "compute_capability": ["8.9"]}
    folder = toy_bundle.make(tmp_path / "toy-tensorrt_rtx-fp32-sm89", backend=backend)

    assert "--compute-capability" not in printed_options(Bundle.open(folder).rebuild_hint())


def test_a_bundle_that_is_the_working_folder_is_rebuilt_in_its_place(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy)

    options = printed_options(Bundle.open(os.curdir).repair_hint())
    assert options[-2:] == ["--output", str(toy.parent)]


def test_checking_sizes_only_finds_a_truncated_file_without_hashing(toy: Path) -> None:
    flip_a_byte(toy / "features.onnx")
    Bundle.open(toy, verify="size")
    path = toy / "mask_head.onnx"
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(BundleError, match=r"mask_head\.onnx was changed.*\n.*bytes, found"):
        Bundle.open(toy, verify="size")


def test_a_missing_file_is_named_with_how_to_rebuild_it(toy: Path) -> None:
    (toy / "clip_pool.onnx").unlink()

    with pytest.raises(BundleError, match=r"clip_pool\.onnx is missing\n.*--stage clip_pool"):
        Bundle.open(toy)


def test_a_bundle_of_a_newer_format_says_to_update(toy: Path) -> None:
    edit_manifest(toy, format=99)

    with pytest.raises(BundleError, match=r"format 99.*\n.*update odise-trt"):
        Bundle.open(toy)


def test_a_folder_that_is_no_bundle_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle.*\n.*build_engines\.py"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "a/../../b", "..\\b"])
def test_a_manifest_cannot_name_files_outside_its_folder(toy: Path, name: str) -> None:
    files = json.loads((toy / MANIFEST).read_text())["files"]
    edit_manifest(toy, files={**files, name: {"sha256": "0", "bytes": 0}})

    with pytest.raises(BundleError, match="outside its bundle"):
        Bundle.open(toy)


def test_a_stage_file_without_a_hash_is_refused(toy: Path) -> None:
    files = json.loads((toy / MANIFEST).read_text())["files"]
    del files["features.onnx"]
    edit_manifest(toy, files=files)

    with pytest.raises(BundleError, match=r"no hash for features\.onnx"):
        Bundle.open(toy)


def test_constants_that_are_missing_are_named(toy: Path) -> None:
    np.savez(toy / CONSTANTS, logit_scale=np.float32(1))

    with pytest.raises(BundleError, match="has no clip_logit_scale, null_embed"):
        Bundle(toy, Manifest.read(toy)).constants()


def test_a_failed_build_leaves_the_older_bundle_and_nothing_else(toy: Path) -> None:
    before = (toy / MANIFEST).read_bytes()

    def interrupted() -> None:
        with BundleWriter(toy) as writer:
            (writer.folder / "captioner.onnx").write_bytes(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (toy / MANIFEST).read_bytes() == before
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_a_build_replaces_the_older_bundle_and_leaves_nothing_behind(toy: Path) -> None:
    (toy / "left_over.bin").write_bytes(b"of an older build")
    toy_bundle.make(toy, preset="toy-two")

    assert Bundle.open(toy).manifest.preset == "toy-two"
    assert not (toy / "left_over.bin").exists()
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_a_build_without_a_manifest_is_not_put_in_place(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=MANIFEST), BundleWriter(tmp_path / "b") as writer:
        (writer.folder / "captioner.onnx").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(OutputError, match="is not a bundle"), BundleWriter(tmp_path):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="cannot be written"), BundleWriter(tmp_path / "file" / "bundle"):
        pytest.fail("the block must not run")


def test_a_stage_can_be_taken_over_from_the_bundle_that_is_replaced(toy: Path) -> None:
    stage = (toy / "captioner.onnx").read_bytes()
    with BundleWriter(toy) as writer:
        for name in Bundle.open(toy).manifest.files:
            writer.adopt(toy / name)
        Bundle.open(toy).manifest.write(writer.folder)

    assert (toy / "captioner.onnx").read_bytes() == stage
    Bundle.open(toy)


def test_a_hash_of_several_files_tells_them_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "graph.onnx", tmp_path / "graph.onnx.data"
    one.write_bytes(b"ab")
    two.write_bytes(b"c")
    first = sha256_of_files([one, two])
    one.write_bytes(b"a")
    two.write_bytes(b"bc")

    assert sha256_of_files([one, two]) != first
    assert sha256_of(two) == hashlib.sha256(b"bc").hexdigest()
