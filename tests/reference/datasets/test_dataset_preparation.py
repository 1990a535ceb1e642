from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from odise_trt.coco_panoptic import read_ids
from odise_trt.vocabulary import Vocabulary
from reference.datasets import IGNORED, DatasetError, open_dataset
from reference.datasets.catalogue import layout_of
from reference.datasets.prepare.ade_full import category_table, numbers
from reference.datasets.prepare.convert import Job, Made, Work, carry_out
from reference.datasets.prepare.pascal_context import LABELS_59
from tests.reference.datasets.dataset_trees import (
    HEIGHT,
    WIDTH,
    ade_tree,
    city_tree,
    halves,
    voc_tree,
    write_array,
    write_picture,
)


def prepare(name: str, path: Path, split: str = "val", **options) -> int:
    return carry_out(layout_of(name).work(path, split), threads=2, **options)


def test_ade_panoptic_maps_put_things_over_stuff(tmp_path: Path) -> None:
    ade_tree(tmp_path / "ADEChallengeData2016")
    assert prepare("ade150", tmp_path) == 2
    dataset = open_dataset("ade150", tmp_path)
    example = dataset[0]
    # The wall is category 0; thing 1 of 100 is the bed, category 7 of 150.
    assert [(segment.category, segment.iscrowd) for segment in example.segments] == [(0, False), (7, False)]
    wall, bed = (example.panoptic == segment.id for segment in example.segments)
    assert bed.sum() == WIDTH
    assert bed[0].all()
    assert wall.sum() == (HEIGHT - 1) * WIDTH // 2
    assert [instance.category for instance in example.instances] == [7]
    # Categories of pixels are those of the category map, under things as well.
    np.testing.assert_array_equal(example.semantic, halves(0, IGNORED))


def test_ade_objects_without_a_kind_are_refused(tmp_path: Path) -> None:
    root = ade_tree(tmp_path)
    instances = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    instances[0, :2] = [(1, 4, 0), (2, 4, 0)]
    write_array(root / "annotations_instance" / "validation" / "ADE_val_00000001.png", instances)
    with pytest.raises(DatasetError, match=r"object 4 .* kinds \[1, 2\]"):
        prepare("ade150", tmp_path)
    assert not (tmp_path / "ade20k_panoptic_val.json").exists()


def test_panoptic_maps_that_went_missing_are_made_again(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    prepare("ade150", tmp_path)
    shutil.rmtree(tmp_path / "ade20k_panoptic_val")
    with pytest.raises(DatasetError, match="ade20k_panoptic_val "):
        open_dataset("ade150", tmp_path)
    assert prepare("ade150", tmp_path) == 2
    assert open_dataset("ade150", tmp_path)[1].panoptic is not None


def test_a_json_about_fewer_images_than_there_are_is_made_again(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    later = list(tmp_path.glob("*/validation/ADE_val_00000002.*"))
    assert len(later) == 3
    for path in later:
        path.rename(path.with_suffix(".later"))
    assert prepare("ade150", tmp_path) == 1
    for path in later:
        path.with_suffix(".later").rename(path)
    assert prepare("ade150", tmp_path) == 2
    assert len(open_dataset("ade150", tmp_path)) == 2


def test_a_json_about_more_images_than_there_are_is_not_lost(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    prepare("ade150", tmp_path)
    (tmp_path / "images" / "validation" / "ADE_val_00000002.jpg").unlink()
    with pytest.raises(DatasetError, match=r"about 1 images that are not here: ADE_val_00000002"):
        prepare("ade150", tmp_path)
    assert prepare("ade150", tmp_path, overwrite=True) == 1
    assert len(open_dataset("ade150", tmp_path)) == 1


def test_cityscapes_panoptic_maps_say_what_instance_ids_say(tmp_path: Path) -> None:
    city_tree(tmp_path)
    direct = open_dataset("cityscapes", tmp_path)
    before = [direct[index] for index in range(2)]
    assert prepare("cityscapes", tmp_path) == 2
    assert (tmp_path / "gtFine" / "cityscapes_panoptic_val.json").is_file()
    dataset = open_dataset("cityscapes", tmp_path)
    assert "cityscapes_panoptic_val" in str(dataset.files(0)[1])
    for index, example in enumerate(before):
        assert dataset[index].image_id == example.image_id
        assert dataset[index].segments == example.segments
        np.testing.assert_array_equal(dataset[index].panoptic, example.panoptic)


def context_tree(root: Path) -> Path:
    from scipy.io import savemat

    folder = voc_tree(root, "VOC2010")
    (folder / "trainval").mkdir()
    for name in "ab":
        # aeroplane is 2 of 459 and 1 of 59; accordion is 1 of 459 and none of 59; 0 is nothing.
        label_map = halves(2, 1, np.uint16)
        label_map[0] = 0
        savemat(folder / "trainval" / f"{name}.mat", {"LabelMap": label_map})
    return folder


def test_pascal_context_maps_come_from_the_mat_files(tmp_path: Path) -> None:
    folder = context_tree(tmp_path)
    assert prepare("pc459", tmp_path) == 1
    assert prepare("pc59", tmp_path) == 1
    assert [path.name for path in (folder / "annotations_detectron2" / "pc459_val").iterdir()] == ["b.tif"]
    wide, narrow = open_dataset("pc459", tmp_path), open_dataset("pc59", tmp_path)
    assert (wide.vocabulary[1].name, narrow.vocabulary[0].name) == ("aeroplane", "aeroplane")
    expected = halves(1, 0)
    expected[0] = IGNORED
    np.testing.assert_array_equal(wide[0].semantic, expected)
    expected = halves(0, IGNORED)
    expected[0] = IGNORED
    np.testing.assert_array_equal(narrow[0].semantic, expected)


@pytest.mark.parametrize("name", ["pc59", "pc459"])
def test_what_was_prepared_in_part_is_no_dataset(tmp_path: Path, name: str) -> None:
    folder = context_tree(tmp_path)
    # First one image, so that there is one whichever thread is the faster.
    prepare(name, tmp_path)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("b\na\n")
    sound = (folder / "trainval" / "a.mat").read_bytes()
    (folder / "trainval" / "a.mat").write_bytes(b"cut short")
    with pytest.raises(DatasetError, match=r"a\.mat cannot be read"):
        prepare(name, tmp_path)
    with pytest.raises(DatasetError, match=f"{name}_val was prepared in part") as caught:
        open_dataset(name, tmp_path)
    assert f"prepare {name} {tmp_path} --split val" in caught.value.hint
    (folder / "trainval" / "a.mat").write_bytes(sound)
    assert prepare(name, tmp_path) == 1
    assert len(open_dataset(name, tmp_path)) == 2


def test_the_59_categories_are_the_same_things_among_the_459() -> None:
    wide, narrow = Vocabulary.preset("pc459"), Vocabulary.preset("pc59")
    for label, category in zip(LABELS_59, narrow, strict=True):
        ours = {word for name in category.names for word in name.split()}
        theirs = {word for name in wide[label - 1].names for word in name.split()}
        assert ours & theirs, (label, category)


def test_labels_in_another_order_are_not_guessed(tmp_path: Path) -> None:
    (context_tree(tmp_path) / "labels.txt").write_text("1: accordion\n2: zebra\n")
    with pytest.raises(DatasetError, match="calls category 2 'zebra'"):
        prepare("pc459", tmp_path)


@pytest.mark.parametrize("name", ["pc59", "pc459"])
def test_the_publishers_own_names_are_those_of_the_vocabulary(tmp_path: Path, name: str) -> None:
    labels = Path(__file__).with_name("pascal_context_labels.txt").read_text(encoding="utf-8")
    assert (labels.count("\n"), labels.splitlines()[2]) == (459, "3: airconditioner")
    (context_tree(tmp_path) / "labels.txt").write_text(labels)
    assert prepare(name, tmp_path) == 1


@pytest.mark.parametrize(
    ("right", "wrong"), [("62: case", "62: light"), ("459: wool", "459: wood"), ("459: wool", "460: wool")]
)
def test_a_name_at_another_number_is_refused(tmp_path: Path, right: str, wrong: str) -> None:
    labels = Path(__file__).with_name("pascal_context_labels.txt").read_text(encoding="utf-8")
    assert right in labels
    (context_tree(tmp_path) / "labels.txt").write_text(labels.replace(right, wrong))
    with pytest.raises(DatasetError, match=f"calls category {wrong.split(':')[0]}"):
        prepare("pc59", tmp_path)


def ade_full_tree(root: Path, height: int, width: int, names: list[str] | None = None) -> Path:
    """One image for validation, wall (2978) beside building (312), and a category beyond the 847."""
    root = root / "ADE20K_2021_17_01"
    scene = "ADE20K_2021_17_01/images/ADE/validation/urban"
    known = dict(numbers())
    names = names or [known.get(number, f"other {number}") for number in range(1, 3689)]
    index = {
        "filename": ["ADE_val_00000007.jpg", "ADE_train_00000008.jpg"],
        "folder": [scene, scene],
        "objectnames": np.array(names, dtype=object),
    }
    root.mkdir()
    (root / "index_ade20k.pkl").write_bytes(pickle.dumps(index))
    folder = root / "images" / "ADE" / "validation" / "urban"
    write_picture(folder / "ADE_val_00000007.jpg", height, width)
    colors = np.zeros((height, width, 3), np.uint8)
    third = width // 3
    for number, columns in (
        (2978, slice(third)),
        (312, slice(third, 2 * third)),
        (1, slice(2 * third, None)),
    ):
        colors[:, columns, 0], colors[:, columns, 1] = number // 256 * 10, number % 256
    write_array(folder / "ADE_val_00000007_seg.png", colors)
    return root


def test_ade_full_maps_hold_the_847_categories(tmp_path: Path) -> None:
    ade_full_tree(tmp_path, HEIGHT, 9)
    assert prepare("ade847", tmp_path) == 1
    dataset = open_dataset("ade847", tmp_path)
    assert dataset.vocabulary[1].name == "building"
    assert dataset[0].semantic.tolist() == [[0] * 3 + [1] * 3 + [IGNORED] * 3] * HEIGHT


def test_large_images_of_ade_full_are_shrunk_with_their_maps(tmp_path: Path) -> None:
    root = ade_full_tree(tmp_path, 1024, 1536)
    prepare("ade847", tmp_path)
    dataset = open_dataset("ade847", tmp_path)
    assert dataset[0].image.shape == (512, 768, 3)
    assert [np.count_nonzero(dataset[0].semantic == category) for category in (0, 1)] == [512 * 256] * 2
    with Image.open(root / "annotations_detectron2" / "validation" / "ADE_val_00000007.tif") as stored:
        assert np.asarray(stored).dtype == np.uint16


def test_ade_full_of_which_a_part_was_written_over_is_no_dataset(tmp_path: Path) -> None:
    root = ade_full_tree(tmp_path, HEIGHT, 9)
    prepare("ade847", tmp_path)
    next(root.rglob("*_seg.png")).unlink()
    with pytest.raises(DatasetError, match=r"1 of 1 image could not be prepared:\n.*_seg\.png"):
        prepare("ade847", tmp_path, overwrite=True)
    with pytest.raises(DatasetError, match="validation was prepared in part"):
        open_dataset("ade847", tmp_path)


def test_an_index_with_other_categories_is_not_guessed(tmp_path: Path) -> None:
    ade_full_tree(tmp_path, HEIGHT, 9, [f"other {number}" for number in range(3688)])
    with pytest.raises(DatasetError, match=r"'other 2977'; in the version .* it is 'wall'") as caught:
        prepare("ade847", tmp_path)
    assert "bring the prepared folders" in caught.value.hint


def test_an_index_that_would_run_code_is_refused(tmp_path: Path) -> None:
    root = ade_full_tree(tmp_path, HEIGHT, 9)
    (root / "index_ade20k.pkl").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    with pytest.raises(DatasetError, match=r"wants (os|posix)\.system"):
        prepare("ade847", tmp_path)


def test_every_category_of_ade_full_has_a_number_and_a_name_of_its_own_place() -> None:
    names = Vocabulary.preset("ade847").synonyms
    table = numbers()
    assert len({number for number, _ in table}) == 847
    # Two are called differently in the vocabulary: "house exterior" and "ceiling fan".
    assert sum(name not in words for (_, name), words in zip(table, names, strict=True)) <= 15
    objects = [""] * 3688
    for number, name in table:
        objects[number - 1] = f"{name}, something else"
    assert category_table(objects, Vocabulary.preset("ade847"), Path("index"))[2978] == 0


def _work(folder: Path, made: list[str], fail: str = "") -> Work:
    def make(name: str) -> Made:
        if name == fail:
            raise DatasetError("stop")
        made.append(name)
        return Made({folder / name: name.encode()}, {"name": name})

    jobs = [Job(name, (folder / name,), lambda name=name: make(name)) for name in "abcd"]
    return Work(
        jobs,
        folder / "all.json",
        lambda rows: {"images": [{"id": row["name"], "file_name": row["name"]} for row in rows]},
    )


def test_a_run_that_was_stopped_is_taken_up_where_it_was(tmp_path: Path) -> None:
    first: list[str] = []
    with pytest.raises(DatasetError):
        carry_out(_work(tmp_path, first, fail="c"), threads=1)
    assert not (tmp_path / "all.json").exists()
    finished = {path.name for path in tmp_path.iterdir()} & set("abcd")
    second: list[str] = []
    assert carry_out(_work(tmp_path, second), threads=1) == 4 - len(finished)
    assert set(second) == set("abcd") - finished
    listed = json.loads((tmp_path / "all.json").read_text())["images"]
    assert [row["id"] for row in listed] == ["a", "b", "c", "d"]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d", "all.json"}


def test_what_is_complete_is_made_again_only_when_told(tmp_path: Path) -> None:
    made: list[str] = []
    carry_out(_work(tmp_path, made))
    (tmp_path / "a").write_text("mine")
    assert carry_out(_work(tmp_path, made)) == 0
    assert (tmp_path / "a").read_text() == "mine"
    assert carry_out(_work(tmp_path, made), overwrite=True) == 4
    assert (tmp_path / "a").read_text() == "a"


def test_writing_over_that_was_stopped_is_not_taken_for_finished(tmp_path: Path) -> None:
    def work(content: bytes, fail: str = "") -> Work:
        def make(name: str) -> Made:
            if name == fail:
                raise DatasetError("stop")
            return Made({tmp_path / "maps" / name: content})

        jobs = [Job(name, (tmp_path / "maps" / name,), lambda name=name: make(name)) for name in "abcd"]
        return Work(jobs, tmp_path / "maps")

    carry_out(work(b"old"))
    with pytest.raises(DatasetError, match="stop"):
        carry_out(work(b"new", fail="c"), overwrite=True, threads=1)
    with pytest.raises(DatasetError, match="holds something else"):
        carry_out(work(b"new"))
    assert carry_out(work(b"new"), overwrite=True) == 4
    assert {path.read_bytes() for path in (tmp_path / "maps").iterdir()} == {b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["maps"]


def test_a_file_of_someone_else_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(DatasetError, match=r"holds something else\n.*--overwrite"):
        carry_out(_work(tmp_path, []))
    assert (tmp_path / "b").read_text() == "mine"


def test_a_torn_line_of_the_journal_is_an_image_to_make_again(tmp_path: Path) -> None:
    made: list[str] = []
    (tmp_path / "all.json.partial").write_text('["a", {"name": "a"}]\n["b", {"na')
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    assert carry_out(_work(tmp_path, made)) == 3
    assert sorted(made) == ["b", "c", "d"]


def test_progress_adds_up_to_all_images(tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(DatasetError):
        carry_out(_work(tmp_path, [], fail="d"), threads=1)
    carry_out(_work(tmp_path, []), progress=told.append)
    assert sum(told) == 4


def test_prepared_maps_are_rgb_pngs_of_ids(tmp_path: Path) -> None:
    ade_tree(tmp_path)
    prepare("ade150", tmp_path)
    ids = read_ids(tmp_path / "ade20k_panoptic_val" / "ADE_val_00000001.png")
    assert ids[:2].tolist() == [[2] * 8, [1, 1, 1, 1, 0, 0, 0, 0]]
