"""Bad images, damaged records and odd ids: the rest is predicted, and what is wrong is one message."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from odise_trt.errors import ImageError, OdiseError, OutputError
from reference.datasets.example import Example
from reference.errors import DatasetError
from reference.eval import Prediction, Report, compare, evaluate
from reference.eval.file_names import file_name
from tests.door import Done, call, verb
from tests.reference.eval.eval_toys import Knowing, Shaky, ToyDataset


class Spoilt(ToyDataset):
    """Some of its images cannot be read."""

    def __init__(self, *spoilt: int) -> None:
        super().__init__()
        self.spoilt = spoilt

    def __getitem__(self, index: int) -> Example:
        if index in self.spoilt:
            raise ImageError(f"images/{index}.jpg is damaged", "a truncated download?")
        return super().__getitem__(index)


@pytest.mark.parametrize("spoilt", [(0,), (5,), (1, 3), (0, 1, 2, 3, 4)])
def test_an_image_that_cannot_be_read_does_not_keep_the_others_from_being_predicted(
    tmp_path: Path, spoilt: tuple[int, ...]
) -> None:
    predictor = Shaky()
    with pytest.raises(DatasetError, match=f"{len(spoilt)} of 6 images of toys could not") as caught:
        evaluate(predictor, Spoilt(*spoilt), output=tmp_path)
    assert all(f"images/{index}.jpg is damaged" in caught.value.message for index in spoilt)
    assert "the same command goes on" in str(caught.value.hint)
    assert not (tmp_path / "report.json").exists()
    assert predictor.asked == [index for index in range(6) if index not in spoilt]
    # Repaired, the same command predicts what is missing, and the numbers are those of all images.
    again = Shaky()
    report = evaluate(again, ToyDataset(), output=tmp_path)
    assert again.asked == list(spoilt)
    assert report.metrics == evaluate(Shaky(), ToyDataset()).metrics


def test_images_none_of_which_can_be_read_are_listed(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"6 of 6 images of toys .*(\n.*images/\d.jpg is damaged){6}"):
        evaluate(Shaky(), Spoilt(*range(6)), output=tmp_path)


def test_an_image_that_needs_too_much_memory_is_listed_like_the_others(tmp_path: Path) -> None:
    class Hungry(Shaky):
        def predict(self, image: np.ndarray, tasks: Sequence[Any]) -> Prediction:
            if image[0, 0, 0] == 2:
                raise MemoryError
            return super().predict(image, tasks)

    with pytest.raises(DatasetError, match="image 'city/2' of toys needs more memory than there is"):
        evaluate(Hungry(), ToyDataset(), output=tmp_path)
    assert len(list((tmp_path / "records").iterdir())) == 5


ids = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(min_size=1, max_size=300),
    st.text("0123456789-%", min_size=1, max_size=200),
    st.integers(0, 10**13).map(lambda number: f"{number:012d}"),
)


@given(st.lists(ids, min_size=2, max_size=8, unique_by=lambda one: (type(one), one)))
@settings(max_examples=100, deadline=None)
def test_names_of_files_are_never_shared_and_always_fit(image_ids: list[int | str]) -> None:
    names = [file_name(image_id) for image_id in image_ids]
    assert len(set(names)) == len(names)
    assert all(len(name) + len(".json") <= 143 and name.isascii() and "/" not in name for name in names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "000000000001"),
        (-1, "-00000000001"),
        (10**13, "10000000000000"),
        ("a/b", "a%2Fb"),
        ("x" * 300, "x" * 301),
        ("1" * 300, "1" * 301),
        ("ж" * 300, "ж" * 299 + "я"),
        ("%30" + "0" * 11, "0" * 12),
    ],
)
def test_ids_that_look_alike_have_files_of_their_own(
    tmp_path: Path, one: int | str, other: int | str
) -> None:
    class Alike(ToyDataset):
        def image_id(self, index: int) -> int | str:
            return (one, other)[index]

    dataset = Alike(2)
    assert evaluate(Knowing(dataset), dataset, output=tmp_path).metrics["PQ"] == pytest.approx(100)
    assert len(list((tmp_path / "records").iterdir())) == 2
    again = Knowing(dataset)
    evaluate(again, dataset, output=tmp_path)
    assert again.asked == []


def test_numbers_keep_the_names_of_coco() -> None:
    assert file_name(397133) == "000000397133"
    assert file_name("street 1") == "street 1"


def stored(folder: Path) -> Path:
    evaluate(Shaky(), ToyDataset(3), output=folder)
    return folder


OTHERS: list[Any] = [None, True, -1, 10**30, 0.5, float("nan"), "", "x", [], [None], [{}], {}, {"a": 1}]


def changed(data: Any, chance: random.Random) -> Any:
    data = copy.deepcopy(data)
    if chance.random() < 0.1:
        return chance.choice(OTHERS)
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = (
            value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        )
        for key in keys:
            spots.append((value, key))
            walk(value[key])

    walk(data)
    container, key = chance.choice(spots)
    if chance.random() < 0.15:
        del container[key]
    else:
        container[key] = chance.choice(OTHERS)
    return data


def test_a_record_edited_by_hand_is_used_or_refused_by_name(tmp_path: Path) -> None:
    stored(tmp_path)
    path = tmp_path / "records" / "000000000101.json"
    good, chance, refused = json.loads(path.read_text()), random.Random(3), 0
    for _ in range(150):
        path.write_text(json.dumps(changed(good, chance)))
        error = error_of(tmp_path)
        if error is not None:
            refused += 1
            assert str(tmp_path) in error
            assert "remove" in error
    assert refused > 100


def error_of(folder: Path) -> str | None:
    try:
        evaluate(Shaky(), ToyDataset(3), output=folder)
    except OutputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": 2}'])
@pytest.mark.parametrize("name", ["predictions.json", "records/000000000101.json"])
def test_a_damaged_file_of_predictions_is_named_with_what_to_remove(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (stored(tmp_path) / name).write_bytes(content)
    with pytest.raises(OutputError) as caught:
        evaluate(Shaky(), ToyDataset(3), output=tmp_path)
    assert "remove" in str(caught.value)


def test_predictions_without_what_made_them_are_not_taken_over(tmp_path: Path) -> None:
    (stored(tmp_path) / "predictions.json").unlink()
    with pytest.raises(OutputError, match=r"has predictions, and no predictions\.json"):
        evaluate(Shaky(), ToyDataset(3), output=tmp_path)


def test_damaged_records_are_listed_together_and_are_made_again_once_they_are_gone(tmp_path: Path) -> None:
    names = [f"{tmp_path}/records/000000000101.json", f"{tmp_path}/records/city%2F2.json"]
    stored(tmp_path)
    for name in names:
        Path(name).write_text("{")
    with pytest.raises(OutputError, match="2 of 3 images of toys could not") as caught:
        evaluate(Shaky(), ToyDataset(3), output=tmp_path)
    for name in names:
        assert f"remove {name} and start again" in caught.value.message
        Path(name).unlink()
    again = Shaky()
    evaluate(again, ToyDataset(3), output=tmp_path)
    assert again.asked == [1, 2]


@pytest.mark.parametrize("kind", ["panoptic", "semantic"])
@pytest.mark.parametrize("damage", ["cut", "size", "mode", "ids", "gone"])
def test_a_damaged_map_of_a_prediction_is_named(tmp_path: Path, kind: str, damage: str) -> None:
    path = stored(tmp_path) / kind / "000000000101.png"
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:60])
    elif damage == "size":
        Image.fromarray(pixels[1:]).save(path)
    elif damage == "mode":
        Image.fromarray(pixels).convert("LA").save(path)
    elif damage == "ids":
        pixels[0] = 77
        Image.fromarray(pixels).save(path)
    else:
        path.unlink()
    with pytest.raises(OutputError, match=rf"{kind}/000000000101\.png.*\n.*remove .*000000000101\.json"):
        evaluate(Shaky(), ToyDataset(3), output=tmp_path)


def test_a_report_edited_by_hand_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path = stored(tmp_path) / "report.json"
    good, chance, refused = json.loads(path.read_text()), random.Random(5), 0
    sound = Report.read(tmp_path)
    for _ in range(150):
        path.write_text(json.dumps(changed(good, chance)))
        refused += is_refused(sound, tmp_path)
    assert 30 < refused < 150


def is_refused(sound: Report, folder: Path) -> bool:
    try:
        compare([sound, Report.read(folder)]).markdown()
    except OdiseError:
        return True
    return False


def test_the_order_in_which_tasks_are_asked_for_means_nothing(tmp_path: Path) -> None:
    evaluate(Shaky(), ToyDataset(), output=tmp_path, tasks=["semantic", "panoptic"])
    again = Shaky()
    evaluate(again, ToyDataset(), output=tmp_path, tasks=["panoptic", "semantic", "panoptic"])
    assert again.asked == []
    with pytest.raises(DatasetError, match="there is no task depth"):
        evaluate(Shaky(), ToyDataset(), tasks=["depth"])  # type: ignore[list-item]


def run(*arguments: object) -> Done:
    return call(verb("reference.eval.cli:eval_command"), *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "--dataset", "scenes", "--data", "/tmp"), "--data"),
        (("--reference", "--dataset", "coco", "--data", ""), "names no file or folder"),
        (("--reference", "--dataset", "scenes", "--output", ""), "names no file or folder"),
        (("--engines", "", "--dataset", "scenes"), "names no file or folder"),
        (("--engines", "e", "--dataset", "scenes", "--output", "s3://bucket/x"), "is an address"),
        (("--reference", "--dataset", "coco", "--data", "https://x.org/coco.zip"), "is an address"),
        (("--reference", "--dataset", "scenes", "--weights", ""), "variable of the shell"),
        (("--reference", "--dataset", "scenes", "--preset", ""), "variable of the shell"),
        (("--engines", "e", "--dataset", "scenes", "--weights", "demo"), "--weights"),
        (("--engines", "e", "--dataset", "scenes", "--preset", "demo"), "--preset"),
        (("--engines", "e", "--dataset", "scenes", "--clip-masks", "crop"), "--clip-masks"),
        (("--reference", "--dataset", "scenes", "--classifier", ""), "variable of the shell"),
        (("--reference", "--dataset", "scenes", "--split", "val"), "--split"),
        (("--reference", "--dataset", "scenes", "--limit", "0"), "--limit"),
        (("--reference", "--dataset", "coco"), "--data"),
        (("--dataset", "scenes"), "--engines"),
    ],
)
def test_options_that_do_nothing_or_name_nothing_are_errors(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.status == 2, done.stderr
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["[/b]", "", "nothing"])
def test_a_dataset_that_there_is_not_is_one_message(name: str, tmp_path: Path) -> None:
    for data in (("--data", tmp_path), ()):
        done = run("--reference", "--dataset", name, *data)
        assert done.status == 1
        assert f"DatasetError: there is no dataset {name!r}" in done.stderr
        assert "coco, " in done.stderr
        assert "scenes-names" in done.stderr


def test_an_evaluation_stopped_by_hand_keeps_what_it_predicted(tmp_path: Path) -> None:
    class Stopped(Shaky):
        def predict(self, image: np.ndarray, tasks: Sequence[Any]) -> Prediction:
            if image[0, 0, 0] == 4:
                raise KeyboardInterrupt
            return super().predict(image, tasks)

    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopped(), ToyDataset(), output=tmp_path)
    again = Shaky()
    evaluate(again, ToyDataset(), output=tmp_path)
    assert again.asked == [4, 5]
