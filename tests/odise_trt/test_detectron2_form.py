"""Panoptic results in detectron2's form, as arrays and in a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.cli import app
from odise_trt.detectron2_form import read
from odise_trt.errors import ArgumentError, OdiseError, OutputError
from odise_trt.result import Result
from odise_trt.segments import Segment
from odise_trt.vocabulary import Vocabulary
from tests.door import call
from tests.odise_trt import toy_bundle
from tests.pages import Page

VOCABULARY = Vocabulary.parse("purse, handbag; table").with_flags(None, "table")
MAP = np.array([[1, 1, 0], [2, 2, 2]], np.int32)
RESULT = Result(
    np.zeros((2, 3, 3), np.uint8),
    VOCABULARY,
    panoptic=MAP,
    segments=[
        Segment(1, 0, "purse", True, 0.75, 2, (0, 0, 2, 1)),
        Segment(2, 1, "table", False, 0.5, 3, (0, 1, 3, 1)),
    ],
)


def test_the_form_is_a_map_and_plain_dicts_with_contiguous_categories() -> None:
    panoptic_seg, segments_info = RESULT.to_detectron2()
    assert panoptic_seg.dtype == np.int32
    np.testing.assert_array_equal(panoptic_seg, MAP)
    assert segments_info == [
        {"id": 1, "isthing": True, "category_id": 0, "score": 0.75, "area": 2},
        {"id": 2, "isthing": False, "category_id": 1, "score": 0.5, "area": 3},
    ]


@pytest.mark.parametrize("other", [{"semantic": MAP - 1}, {"instances": []}])
def test_other_tasks_have_no_such_form(other: dict[str, object], tmp_path: Path) -> None:
    result = Result(RESULT.image, VOCABULARY, **other)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="has no panoptic_seg"):
        result.to_detectron2()
    with pytest.raises(ArgumentError, match="has no panoptic_seg"):
        result.save(tmp_path, "photo", detectron2=True)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_read_back_and_needs_no_pickle(tmp_path: Path) -> None:
    *usual, file = RESULT.save(tmp_path, "photo", detectron2=True)
    assert [path.name for path in usual] == ["photo.overlay.png", "photo.panoptic.png", "photo.json"]
    assert file.name == "photo.detectron2.npz"
    panoptic_seg, segments_info = read(file)
    np.testing.assert_array_equal(panoptic_seg, MAP)
    assert segments_info == RESULT.to_detectron2()[1]
    with np.load(file, allow_pickle=False) as archive:
        assert json.loads(str(archive["category_names"])) == ["purse", "table"]


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "photo.detectron2.npz").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"photo\.detectron2\.npz is there already"):
        RESULT.save(tmp_path, "photo", detectron2=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.detectron2.npz"]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_such_file_is_said(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "photo.npz").write_bytes(content)
    with pytest.raises(OdiseError, match=r"photo\.npz (is no result|cannot be read)"):
        read(tmp_path / "photo.npz")


def test_run_writes_the_file_beside_the_others(tmp_path: Path) -> None:
    bundle, photo = toy_bundle.make(tmp_path / "toy"), tmp_path / "photo.png"
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[..., 0] = 255
    Image.fromarray(pixels).save(photo)
    words = ["run", photo, "--engines", bundle, "--vocab", "red; green", "--output", tmp_path / "out"]
    done = call(app, *words, "--detectron2")
    assert done.status == 0, done.stderr
    panoptic_seg, segments_info = read(tmp_path / "out" / "photo.detectron2.npz")
    assert panoptic_seg.shape == (128, 128)
    assert [segment["category_id"] for segment in segments_info] == [0]
    refused = call(app, *words, "--detectron2", "--task", "semantic")
    assert refused.status == 2
    assert "it is for --task panoptic" in refused.stderr


def test_the_lines_of_the_page_make_a_file_that_torch_reads_without_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    (lines,) = [code for code in Page("from-official-odise.md").examples if "torch.save" in code]
    monkeypatch.chdir(tmp_path)
    RESULT.save(tmp_path, "photo", detectron2=True)
    exec(lines, {})
    panoptic_seg, segments_info = torch.load("photo.pth", weights_only=True)
    assert panoptic_seg.dtype == torch.int32
    np.testing.assert_array_equal(panoptic_seg.numpy(), MAP)
    assert segments_info == RESULT.to_detectron2()[1]
