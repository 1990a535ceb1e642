"""Files and folders that are nearly where they should be: the hint names them, and following it helps."""

from __future__ import annotations

import os
import re
import shlex
import time
import unicodedata
from pathlib import Path

import pytest

from reference.datasets.cli import app
from reference.datasets.near_misses import whereabouts
from tests.door import Done, call
from tests.reference.datasets.dataset_trees import ade_tree, coco_tree, own_tree


def run(*arguments: object) -> Done:
    return call(app, *arguments)


@pytest.mark.parametrize(
    ("written", "there", "hint"),
    [
        ("Street.JPG", "street.jpg", "there is street.jpg"),
        ("street.png", "street.jpg", "there is street.jpg"),
        ("street", "street.jpg", "there is street.jpg"),
        ("street.jpg ", "street.jpg", "there is street.jpg"),
        ("images/street.jpg", "street.jpg", "leave the folders out of file_name: such files lie in "),
        ("images\\street.jpg", "street.jpg", "leave the folders out of file_name: such files lie in "),
        ("C:\\me\\street.jpg", "street.jpg", "leave the folders out of file_name: such files lie in "),
        ("day1\\street.jpg", "day1/street.jpg", "such files lie in "),
        ("street.jpg", "day 1/street.jpg", "such files lie in "),
        ("day1\\none.jpg", "street.jpg", "write / between folders"),
        ("https://x.org/street.png", "street.jpg", "file_name is an address: fetch"),
        ("f\u00fcr.jpg", "fu\u0308r.jpg", "there is fu\u0308r.jpg: it looks the same"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_what_to_do(
    tmp_path: Path, written: str, there: str, hint: str
) -> None:
    own_tree(tmp_path, ("one",))
    place = tmp_path / "images" / there
    place.parent.mkdir(exist_ok=True)
    (tmp_path / "images" / "one.jpg").rename(place)
    file = tmp_path / "panoptic.json"
    file.write_text(file.read_text().replace("one.jpg", written.replace("\\", "\\\\")))
    done = run("verify", "panoptic", tmp_path)
    assert done.status == 1
    assert f"is not there\n      {hint}" in done.stderr


def test_both_ways_to_write_an_umlaut_are_letters_of_good_names(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        folder = own_tree(tmp_path / form, (unicodedata.normalize(form, "für"),))
        assert run("verify", "panoptic", folder).status == 0


def test_a_broken_link_is_answered_with_where_it_points(tmp_path: Path) -> None:
    picture = own_tree(tmp_path) / "images" / "one.jpg"
    picture.unlink()
    picture.symlink_to("/nowhere/at/all.jpg")
    shown = run("verify", "panoptic", tmp_path).stderr
    assert "one.jpg is a broken link, not a file\n      it points to /nowhere/at/all.jpg" in shown


def test_many_files_that_are_called_otherwise_are_looked_for_within_a_second(tmp_path: Path) -> None:
    names = [f"picture {number}" for number in range(4000)]
    folder = tmp_path / "images"
    folder.mkdir()
    for name in names:
        (folder / f"other {name}.jpg").touch()
    begun = time.process_time()
    assert {whereabouts(folder / f"{name}.jpg") for name in names} == {None}
    # All against all took half a minute.
    assert time.process_time() - begun < 5


def test_something_else_by_the_right_name_is_not_answered_with_itself(tmp_path: Path) -> None:
    picture = own_tree(tmp_path) / "images" / "one.jpg"
    picture.unlink()
    picture.mkdir()
    assert "there is" not in run("verify", "panoptic", tmp_path).stderr


@pytest.mark.parametrize(
    ("there", "moved", "name"),
    [
        ("panoptic.json", "Panoptic.json", "panoptic"),
        ("panoptic.json", "annotations/panoptic.json", "panoptic"),
        ("images", "Images", "panoptic"),
        ("images", "data/images", "panoptic"),
        ("panoptic_val2017", "annotations/panoptic_val2017", "coco"),
        ("val2017", "images/val2017", "coco"),
    ],
)
def test_a_part_in_another_place_is_found_and_moving_it_helps(
    tmp_path: Path, there: str, moved: str, name: str
) -> None:
    root = (own_tree if name == "panoptic" else coco_tree)(tmp_path)
    (root / moved).parent.mkdir(exist_ok=True)
    (root / there).rename(root / moved)
    shown = run("verify", name, root).stderr
    assert f"  move {root / moved} to {root / there}\n" in shown
    (root / moved).rename(root / there)
    assert run("verify", name, root).status == 0


@pytest.mark.parametrize(
    "called", ["annotations.json", "_annotations.coco.json", "panoptic_val.json", "panoptic.json.txt"]
)
def test_a_json_of_another_name_is_named(tmp_path: Path, called: str) -> None:
    (own_tree(tmp_path) / "panoptic.json").rename(tmp_path / called)
    (tmp_path / "captions.json").write_text("{}")
    (tmp_path / "._panoptic.json").write_text("")
    assert f"if it is {called}, rename that to panoptic.json" in run("verify", "panoptic", tmp_path).stderr


def test_a_json_that_has_a_place_of_its_own_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    assert "rename" not in run("verify", "coco-captions", coco_tree(tmp_path)).stderr


@pytest.mark.parametrize("inner", ["mine", "mein Ordner ü $x 'y' (z)"])
def test_data_one_folder_deeper_is_found_and_the_hint_can_be_pasted(tmp_path: Path, inner: str) -> None:
    own_tree(tmp_path / inner)
    shown = run("verify", "panoptic", tmp_path).stderr
    found = re.search(r"it is in a folder below: give (.*)", shown)
    assert found is not None
    (folder,) = shlex.split(found[1])
    assert run("verify", "panoptic", folder).status == 0


def test_folders_of_other_programs_for_splits_are_named(tmp_path: Path) -> None:
    own_tree(tmp_path / "train")
    own_tree(tmp_path / "valid")
    shown = run("verify", "panoptic", tmp_path).stderr
    assert "choose it with --split train; it is in a folder below: give " in shown
    assert str(tmp_path / "valid") in shown


def test_what_prepare_makes_is_made_though_another_split_is_there(tmp_path: Path) -> None:
    for names in (("validation", "training"), ("validation",)):
        ade_tree(tmp_path)
        for name in names[1:]:
            for part in tmp_path.glob("*/validation"):
                part.rename(part.with_name(name))
            assert run("prepare", "ade150", tmp_path, "--split", "train").status == 0
    assert "make it: python -m reference.datasets prepare" in run("verify", "ade150", tmp_path).stderr


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "mine.zip"
    archive.write_bytes(b"PK\3\4")
    assert "unpack it, and give the folder" in run("verify", "panoptic", archive).stderr
    assert "has archives: unpack mine.zip" in run("verify", "panoptic", tmp_path).stderr


def test_a_hint_is_about_what_is_there_now(tmp_path: Path) -> None:
    assert "docs/datasets.md" in run("verify", "panoptic", tmp_path).stderr
    own_tree(tmp_path / "mine")
    assert "it is in a folder below" in run("verify", "panoptic", tmp_path).stderr


def test_a_command_about_a_folder_with_a_dash_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ade_tree(Path("-my data"))
    shown = run("verify", "ade150", "./-my data").stderr
    advice = re.search("make it: (.*)", shown)
    assert advice is not None
    assert run(*shlex.split(advice[1])[3:]).status == 0
    assert os.path.isdir("-my data/ade20k_panoptic_val")


@pytest.mark.parametrize("address", ["s3://bucket/data", "https://x.org/data.zip", "hf://datasets/x"])
def test_an_address_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("verify", "panoptic", address)
    assert done.status == 2
    assert "is an address" in done.stderr
