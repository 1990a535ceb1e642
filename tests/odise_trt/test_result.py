"""What a user does with a result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from odise_trt.result import Result
from odise_trt.vocabulary import Vocabulary

VOCABULARY = Vocabulary.parse("purse, handbag; table")
IMAGE = np.zeros((40, 60, 3), np.uint8)
EMPTY = np.zeros((40, 60), np.int32)


def test_a_result_knows_its_task() -> None:
    assert Result(IMAGE, VOCABULARY, panoptic=EMPTY).task == "panoptic"
    assert Result(IMAGE, VOCABULARY, semantic=EMPTY).task == "semantic"
    assert Result(IMAGE, VOCABULARY, instances=[]).task == "instance"


def test_saving_writes_three_files_of_one_name_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    written = Result(IMAGE, VOCABULARY, panoptic=EMPTY).save(folder, "photo")
    assert [path.name for path in written] == ["photo.overlay.png", "photo.panoptic.png", "photo.json"]
    assert set(folder.iterdir()) == set(written)


def test_the_map_has_the_size_of_the_image_whatever_the_overlay_has(tmp_path: Path) -> None:
    overlay, panoptic, _ = Result(IMAGE, VOCABULARY, panoptic=EMPTY).save(tmp_path, "photo")
    with Image.open(panoptic) as ids, Image.open(overlay) as drawn:
        assert ids.size == (60, 40)
        assert drawn.width > 60


def test_saving_again_replaces(tmp_path: Path) -> None:
    for _ in range(2):
        Result(IMAGE, VOCABULARY, instances=[]).save(tmp_path, "photo")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_name_that_is_not_utf8_is_written_and_read_back(tmp_path: Path) -> None:
    # As os.fsdecode gives the Latin-1 name of an old archive.
    written = Result(IMAGE, VOCABULARY, panoptic=EMPTY).save(tmp_path, "photo", "caf\udce9.jpg")
    data = json.loads(written[-1].read_text(encoding="utf-8"))
    assert data["images"][0]["file_name"] == "caf\udce9.jpg"


def test_importing_results_draws_nothing_in() -> None:
    probe = "import sys, odise_trt.result; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
