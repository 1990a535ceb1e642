"""A bundle is used as it was built, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest

from odise_trt import Bundle, Segmenter
from odise_trt.bundle import BundleWriter
from odise_trt.bundle.bundle import sha256_of, sha256_of_files
from odise_trt.bundle.manifest import CONSTANTS, MANIFEST, TOKENIZER, Manifest
from odise_trt.errors import BackendError, BundleError, OutputError, VocabularyError
from odise_trt.tokenizer import Tokenizer
from tests.odise_trt import toy_bundle


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


def test_the_printed_command_leaves_weights_out_as_the_build_did(tmp_path: Path) -> None:
    folder = toy_bundle.make(tmp_path / "toy", tools={"opset": "21", "strip-weights": "yes"})

    options = printed_options(Bundle.open(folder).repair_hint())
    assert options.count("--strip-weights") == 1
    assert "yes" not in options


def test_the_printed_command_makes_engines_as_compatible_as_they_were(tmp_path: Path) -> None:
    engine = {"name": "tensorrt", "version": "10.13", "gpu": "L4", "compatible": ["version", "hardware"]}
    bundle = Bundle.open(toy_bundle.make(tmp_path / "toy", backend=engine))
    for hint in (bundle.repair_hint(), bundle.rebuild_hint()):
        assert printed_options(hint)[-2:] == ["--version-compatible", "--hardware-compatible"]


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
    with BundleWriter(toy) as writer:
        (writer.folder / MANIFEST).write_bytes((toy / MANIFEST).read_bytes())

    assert [path.name for path in toy.iterdir()] == [MANIFEST]
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


@pytest.mark.parametrize("manifest", ["as it was", "{}"])
def test_what_somebody_put_into_a_bundle_stays_when_it_is_built_again(toy: Path, manifest: str) -> None:
    (toy / "notes.txt").write_text("mine")
    (toy / "results" / "empty").mkdir(parents=True)
    (toy / "results" / "photo.png").write_bytes(b"mine")
    (toy / "photos").symlink_to("/nowhere")
    (toy / ".nfs0001").write_bytes(b"an open file that was removed")
    if manifest != "as it was":
        (toy / MANIFEST).write_text(manifest)
    toy_bundle.make(toy, preset="toy-two")

    bundle = Bundle.open(toy)
    assert bundle.manifest.preset == "toy-two"
    assert not bundle.damage()
    assert "notes.txt" not in bundle.manifest.files
    assert (toy / "notes.txt").read_text() == "mine"
    assert (toy / "results" / "photo.png").read_bytes() == b"mine"
    assert (toy / "results" / "empty").is_dir()
    assert os.readlink(toy / "photos") == "/nowhere"
    assert not (toy / ".nfs0001").exists()
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_what_somebody_put_into_a_bundle_is_copied_where_there_are_no_hard_links(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    (toy / "results").mkdir()
    (toy / "results" / "photo.png").write_bytes(b"mine")
    toy_bundle.make(toy, preset="toy-two")
    assert (toy / "results" / "photo.png").read_bytes() == b"mine"


@pytest.mark.parametrize("moves", [1, 2])
def test_a_build_that_is_stopped_while_it_takes_its_place_loses_no_bundle(
    moves: int, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal arrives between two renames, or right after them."""
    before = (toy / MANIFEST).read_bytes()
    rename, done = Path.rename, []

    def interrupted(source: Path, target: Path) -> Path:
        moved = rename(source, target)
        done.append(target)
        if len(done) == moves:
            raise KeyboardInterrupt
        return moved

    # As where names cannot be swapped.
    monkeypatch.setattr("odise_trt.bundle.bundle.exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), BundleWriter(toy) as writer:
        (writer.folder / MANIFEST).write_text("new")
    assert (toy / MANIFEST).read_bytes() == (before if moves == 1 else b"new")


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


# Constants


def save_constants(folder: Path, **changes) -> None:
    """Replace constants, and the hash of their file."""
    with np.load(folder / CONSTANTS) as archive:
        constants = dict(archive)
    np.savez(folder / CONSTANTS, **{k: v for k, v in {**constants, **changes}.items() if v is not None})
    declare_again(folder, CONSTANTS)


def declare_again(folder: Path, name: str) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    files[name] = {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
    edit_manifest(folder, files=files)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"null_embed": np.full((1, toy_bundle.MASK_DIM), np.nan, np.float32)}, "null_embed is not finite"),
        ({"logit_scale": np.float32(np.nan)}, "logit_scale is not finite"),
        ({"clip_logit_scale": np.float32(np.inf)}, "clip_logit_scale is not finite"),
        ({"null_embed": np.zeros((1, 3), np.float32)}, r"null_embed has shape \(1, 3\)"),
        ({"logit_scale": np.zeros(4, np.float32)}, r"logit_scale has shape \(4,\)"),
        ({"logit_scale": np.array("50")}, "logit_scale is <U2, not float32"),
        ({"logit_scale": np.int64(50)}, "logit_scale is int64"),
        ({"null_embed": None}, "has no null_embed"),
    ],
)
def test_constants_that_are_not_finite_or_do_not_fit_are_found_when_a_bundle_is_opened(
    toy: Path, changes, says: str
) -> None:
    save_constants(toy, **changes)
    with pytest.raises(BundleError, match=f"{CONSTANTS}.* {says}"):
        Segmenter.open(toy)


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"\x93NUMPY\1\0\x10\0{'descr': 'O'", b"no archive", b"\x80\4]q\0."]
)
def test_constants_that_are_no_archive_are_a_bundle_error(toy: Path, content: bytes) -> None:
    (toy / CONSTANTS).write_bytes(content)
    declare_again(toy, CONSTANTS)
    with pytest.raises(BundleError, match=CONSTANTS):
        Segmenter.open(toy)


def test_damage_anywhere_in_constants_and_tokenizer_is_a_bundle_error_or_none(toy: Path) -> None:
    draw = random.Random(3)
    for name in (CONSTANTS, TOKENIZER):
        whole = (toy / name).read_bytes()
        for _ in range(300):
            damaged = bytearray(whole)
            place = draw.randrange(len(whole))
            damaged[place : place + draw.randrange(1, 9)] = draw.randbytes(draw.randrange(4))
            (toy / name).write_bytes(damaged)
            with suppress(BundleError, VocabularyError):
                bundle = Bundle(toy, Manifest.read(toy))
                bundle.constants()
                Tokenizer.from_file(bundle.tokenizer).encode(["red green", "blue."])
        (toy / name).write_bytes(whole)


def test_probabilities_that_are_not_finite_are_an_error_that_names_the_bundle(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a bundle whose hashes were made after the damage would hold.
    damaged = {**Bundle.open(toy).constants(), "null_embed": np.full((1, toy_bundle.MASK_DIM), np.nan, "f4")}
    monkeypatch.setattr(Bundle, "constants", lambda _: damaged)
    words = Segmenter.open(toy, vocabulary="red; green", cache=False)
    with words as segmenter, pytest.raises(BackendError, match=f"{toy.name} gave class probabilities that"):
        segmenter(np.zeros((20, 20, 3), np.uint8))


# Engines


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"not a graph"])
@pytest.mark.parametrize("stage", ["features", "text_encoder"])
def test_a_graph_that_cannot_be_opened_is_a_backend_error_that_names_the_stage(
    toy: Path, stage: str, content: bytes
) -> None:
    (toy / f"{stage}.onnx").write_bytes(content)
    declare_again(toy, f"{stage}.onnx")
    with pytest.raises(BackendError, match=f"stage {stage}"):
        Segmenter.open(toy, vocabulary="red", cache=False)


def test_missing_external_data_is_a_backend_error_that_names_the_stage(toy: Path) -> None:
    path = toy / "text_encoder.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.data", size_threshold=0)
    declare_again(toy, path.name)
    (toy / "weights.data").unlink()
    with pytest.raises(BackendError, match="stage text_encoder"):
        Segmenter.open(toy, vocabulary="red", cache=False)


def test_a_bundle_that_is_removed_while_it_is_open_is_an_error_where_it_is_needed_again(toy: Path) -> None:
    with Segmenter.open(toy, vocabulary="red", cache=False) as segmenter:
        shutil.rmtree(toy)
        assert segmenter(np.zeros((20, 20, 3), np.uint8)).panoptic is not None
        with pytest.raises(BackendError, match="stage text_encoder"):
            segmenter.vocabulary = "green"


def test_too_little_memory_in_a_stage_is_an_error_with_what_needs_less(toy: Path, monkeypatch) -> None:
    with Segmenter.open(toy, vocabulary="red", cache=False) as segmenter:

        def refuse(inputs: object) -> None:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 12345678")

        monkeypatch.setattr(segmenter._executor._engines["features"], "run", refuse)
        with pytest.raises(
            BackendError, match=r"stage features failed: Failed to allocate.*\n.*max_windows=1"
        ):
            segmenter(np.zeros((20, 20, 3), np.uint8))


@pytest.mark.parametrize("kind", ["folder", "broken link", "pipe"])
def test_what_is_there_instead_of_a_file_is_told(toy: Path, tmp_path: Path, kind: str) -> None:
    path = toy / "features.onnx"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=f"features.onnx is a {kind}, not a file"):
        Bundle.open(toy)
