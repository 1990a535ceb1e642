from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

from odise_trt.coco_panoptic import encode_ids
from reference.datasets import DATASETS, DatasetError
from reference.datasets.cli import app
from reference.datasets.verify import verify
from tests.door import Done, call
from tests.reference.datasets.dataset_trees import ade_tree, halves, own_tree, write_array


def run(*arguments: object) -> Done:
    return call(app, *arguments)


def test_the_list_has_every_dataset() -> None:
    shown = run("list")
    assert shown.status == 0
    first_words = {line.split()[0] for line in shown.stdout.splitlines() if line.strip()}
    assert set(DATASETS) <= first_words


def test_what_is_missing_is_named_and_the_status_is_one(tmp_path: Path) -> None:
    own_tree(tmp_path)
    (tmp_path / "panoptic.json").unlink()
    shown = run("verify", "panoptic", tmp_path)
    assert shown.status == 1
    assert f"{tmp_path}/panoptic.json" in shown.stderr
    assert str(tmp_path / "images") not in shown.stderr
    assert "docs/datasets.md" in shown.stderr


def test_advice_is_about_the_split_that_was_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    ade_tree(folder)
    for part in folder.glob("*/validation"):
        part.rename(part.with_name("training"))
    advice = f"make it: python -m reference.datasets prepare ade150 '{folder}' --split train"
    assert advice in run("verify", "ade150", folder, "--split", "train").stderr
    assert run(*shlex.split(advice)[5:]).status == 0
    assert run("verify", "ade150", folder, "--split", "train").status == 0


def test_an_empty_folder_counts_as_missing(tmp_path: Path) -> None:
    own_tree(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    assert f"is not complete; missing:\n    {tmp_path}/images " in run("verify", "panoptic", tmp_path).stderr


def test_files_that_the_index_names_are_looked_for(tmp_path: Path) -> None:
    own_tree(tmp_path)
    (tmp_path / "images" / "two.jpg").unlink()
    shown = run("verify", "panoptic", tmp_path)
    assert shown.status == 1
    assert "1 fault in 2 images of panoptic" in shown.stderr
    assert f"{tmp_path}/images/two.jpg is not there" in shown.stderr


def test_a_sound_dataset_is_counted(tmp_path: Path) -> None:
    report = verify("panoptic", own_tree(tmp_path))
    assert (report.images, report.categories, report.things, report.seen) == (2, 2, 1, 2)
    assert report.found == {"segments": 4, "objects": 2, "pixels with a category": 96, "pixels": 96}
    assert run("verify", "panoptic", tmp_path).status == 0


def test_faults_of_all_sampled_images_are_listed(tmp_path: Path) -> None:
    own_tree(tmp_path)
    for name in ("one", "two"):
        write_array(tmp_path / "panoptic" / f"{name}.png", encode_ids(halves(1, 77)))
    with pytest.raises(DatasetError, match="2 faults in 2 images") as caught:
        verify("panoptic", tmp_path)
    assert "one.png" in caught.value.message
    assert "two.png" in caught.value.message


def test_segments_without_a_pixel_are_noted(tmp_path: Path) -> None:
    own_tree(tmp_path)
    write_array(tmp_path / "panoptic" / "one.png", encode_ids(halves(1, 0)))
    assert verify("panoptic", tmp_path).notes == ("image 'one': 1 segment has no pixel",)


def test_preparing_and_verifying_are_two_commands(tmp_path: Path) -> None:
    ade_tree(tmp_path / "ADEChallengeData2016")
    assert "prepare ade150" in run("verify", "ade150", tmp_path).stderr
    shown = run("prepare", "ade150", tmp_path, "--jobs", 1)
    assert shown.status == 0, shown.stdout
    assert "2 images prepared" in shown.stdout
    assert "2 were there already" in run("prepare", "ade150", tmp_path).stdout
    assert run("verify", "ade150", tmp_path).status == 0


def test_what_preparation_needs_is_named(tmp_path: Path) -> None:
    root = ade_tree(tmp_path)
    for path in (root / "annotations_instance" / "validation").iterdir():
        path.unlink()
    shown = run("prepare", "ade150", tmp_path)
    assert shown.status == 1
    assert "annotations_instance" in shown.stderr


def test_a_dataset_that_is_read_as_downloaded_says_so(tmp_path: Path) -> None:
    shown = run("prepare", "coco", tmp_path)
    assert shown.status == 1
    assert "nothing to prepare" in shown.stderr


def test_examples_can_be_read_by_worker_processes(tmp_path: Path) -> None:
    import pickle

    from reference.datasets import open_dataset

    dataset = pickle.loads(pickle.dumps(open_dataset("panoptic", own_tree(tmp_path))))
    np.testing.assert_array_equal(dataset[0].panoptic, halves(1, 2))


def test_the_dataset_that_the_documentation_writes_is_sound(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (root / "docs" / "datasets.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    after = page.split("This writes such a dataset")[1]
    exec(after.split("```python\n")[1].split("```")[0], {})
    report = verify("panoptic", tmp_path / "mine")
    assert (report.images, report.found["segments"], report.found["objects"]) == (1, 2, 1)


def test_the_json_in_the_documentation_can_be_opened(root: Path, tmp_path: Path) -> None:
    from reference.datasets import open_dataset

    page = (root / "docs" / "datasets.md").read_text(encoding="utf-8")
    own_tree(tmp_path)
    (tmp_path / "panoptic.json").write_text(page.split("```json\n")[1].split("```")[0])
    vocabulary = open_dataset("panoptic", tmp_path).vocabulary
    assert vocabulary.synonyms == (("cat", "cats", "kitten"), ("grass",))


def test_the_table_of_the_documentation_has_the_right_numbers(root: Path) -> None:
    from reference.datasets import overlap_with
    from reference.datasets.catalogue import LAYOUTS

    page = (root / "docs" / "datasets.md").read_text(encoding="utf-8")
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 5 and cells[1].startswith("`") and cells[1].endswith("`"):
            names = cells[1].replace("`", "").split(", ")
            counts, seen = cells[3].split(" (")[0].split(", "), cells[4].split(", ")
            rows |= {name: (counts[place], seen[place]) for place, name in enumerate(names)}
    assert set(rows) == set(LAYOUTS) - {"panoptic"}
    for name, layout in LAYOUTS.items():
        if layout.vocabulary is not None:
            assert rows[name] == (str(len(layout.vocabulary)), str(sum(overlap_with(layout.vocabulary))))
