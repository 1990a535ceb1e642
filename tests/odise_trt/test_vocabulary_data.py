"""Vocabularies as data: YAML, JSON, COCO's families, and what Python gives."""

# ruff: noqa: RUF001 -- signs that look like others are among what this is about

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odise_trt.errors import VocabularyError, VocabularyWarning
from odise_trt.vocabulary import Category, Vocabulary
from odise_trt.vocabulary.format import category_names

OWN = {
    "images": [{"id": 1, "file_name": "street.jpg"}],
    "annotations": [],
    "categories": [
        {"id": 1, "name": "cat", "isthing": 1, "synonyms": ["cats", "kitten"]},
        {"id": 2, "name": "grass", "isthing": 0},
        {"id": 3, "name": "box", "isthing": 1, "synonyms": "crate, case"},
        {"id": 4, "name": "sky", "isthing": 0, "synonyms": None},
        {"id": 5, "name": "lake", "isthing": 0, "synonyms": ""},
    ],
}
LVIS = {
    "name": "aerosol_can",
    "synonyms": ["aerosol_can", "spray_can"],
    "synset": "aerosol.n.02",
    "def": "a dispenser that holds a substance under pressure",
    "frequency": "c",
    "image_count": 64,
    "instance_count": 109,
    "id": 1,
}
KEYPOINTS = {
    "supercategory": "person",
    "id": 1,
    "name": "person",
    "keypoints": ["nose", "left_eye"],
    "skeleton": [[1, 2]],
}


def test_the_categories_of_a_data_set_of_ones_own_are_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "panoptic.json"
    path.write_text(json.dumps(OWN))
    vocabulary = Vocabulary.parse(path)
    assert vocabulary.synonyms == (
        *(("cat", "cats", "kitten"), ("grass",), ("box", "crate", "case"), ("sky",), ("lake",)),
    )
    assert vocabulary.isthing == (True, False, True, False, False)


@pytest.mark.parametrize(
    ("category", "names"),
    [
        (LVIS, ("aerosol_can", "spray_can")),
        (KEYPOINTS, ("person",)),
        ({"id": 7, "name": "car", "color": [0, 0, 142], "supercategory": "vehicle", "isthing": 1}, ("car",)),
        ({"id": 7, "trainId": 2, "name": "car", "hasInstances": True, "ignoreInEval": False}, ("car",)),
    ],
)
def test_the_categories_of_cocos_families_are_a_vocabulary(
    category: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert Vocabulary.from_data({"categories": [category]}).synonyms == (names,)
    assert Vocabulary.from_data([category]).synonyms == (names,)


def test_keys_of_other_programs_are_of_no_account_among_cocos_categories() -> None:
    row = {"id": 1, "name": "cat", "roboflow_uid": "x", "area": 3}
    assert Vocabulary.from_data({"categories": [row]}).names == ("cat",)
    with pytest.raises(VocabularyError, match="`roboflow_uid`, which says nothing about a category"):
        Vocabulary.from_data([row])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("synonym", "synonyms"), ("Synonyms", "synonyms"), ("aliases", "synonyms")),
        *(("isThing", "isthing"), ("is_thing", "isthing"), ("isthign", "isthing"), ("thing", "isthing")),
        *(("Name", "name"), ("nmae", "name"), ("label", "name"), ("class_name", "name")),
    ],
)
def test_a_slip_in_a_key_is_told_with_the_key_that_is_meant(key: str, meant: str) -> None:
    row = {"id": 1, "names": ["cat"], key: "kitten"}
    for data in ({"categories": [row]}, [row]):
        with pytest.raises(VocabularyError, match=f"`{key}`\n.*did you mean `{meant}`"):
            Vocabulary.from_data(data)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"name": "cat", "synonyms": 7}, "row 3, `synonyms` is 7, which is not text"),
        ({"name": "cat", "synonyms": ["a", 7]}, "has 7 among its names"),
        ({"name": "cat", "synonyms": [None]}, "has None among its names"),
        ({"name": "cat", "synonyms": {"a": 1}}, "`synonyms` is {'a': 1}, which is not text"),
        ({"name": "cat", "synonyms": "cats,,kitten"}, "row 3 has an empty name"),
        ({"name": "cat", "synonyms": [" "]}, "row 3 has an empty name"),
        ({"name": " "}, "row 3 has no name"),
        ({"name": None}, "row 3 has no name"),
        ({}, "row 3 has no name"),
        ({"name": 7}, "row 3 is 7"),
        ({"name": "cup\ud83d"}, "half a character (U+D83D)"),
        ({"name": "cup\x07"}, "a control character (U+0007)"),
        ({"name": "\u202ecup"}, "a character that nobody sees (U+202E)"),
        ({"name": "c\u202eup"}, "a character that nobody sees (U+202E)"),
        ({"name": "cup\ufffd"}, "a letter that was lost"),
        ({"name": "cup\uffff"}, "what is no character"),
        ({"name": "\u3164"}, "nothing in it can be seen"),
    ],
)
def test_what_cannot_be_the_names_of_a_category_is_an_error_with_its_place(
    row: dict[str, Any], says: str
) -> None:
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        category_names(row, "row 3")
    assert "row 3" in str(caught.value)
    assert caught.value.hint
    str(caught.value).encode()  # half a character is not in the message


def test_names_that_need_joiners_and_marks_are_names() -> None:
    names = ["👩\u200d🚀", "می\u200cخواهم", "❤\ufe0f", "\u00e9tui", "🏴\U000e0067\U000e0062\U000e007f"]
    assert category_names({"names": names}, "row 3") == tuple(names)


def test_upper_and_lower_case_make_no_difference_between_categories() -> None:
    for rows in ([{"name": "cat"}, {"name": "Cat"}], [{"id": 1, "name": "cat"}, {"id": 2, "name": "CAT"}]):
        with pytest.raises(VocabularyError, match="is there twice"):
            Vocabulary.from_data(rows)
    apart = [{"id": 1, "name": "bag"}, {"id": 2, "name": "Bag", "synonyms": ["suitcase"]}]
    assert Vocabulary.from_data(apart).names == ("bag", "Bag")


YAML_NAMES = (
    *("2024-02-30", "0000-00-00", "2024-01-01", "0x_", "0b_", "no", "Yes", "on", "1", "1.5", "1e3", ".nan"),
    *("null", "~", "true", "16:9 monitor", "1_000"),
)


def test_every_plain_word_of_yaml_is_a_name(tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text("".join(f"- {name}\n- [{name} 2]\n- {{name: {name} 3}}\n" for name in YAML_NAMES))
    expected = [f"{name}{end}" for name in YAML_NAMES for end in ("", " 2", " 3")]
    assert list(Vocabulary.parse(path).names) == expected


@pytest.mark.parametrize(
    ("said", "isthing"),
    [
        *((s, True) for s in ("true", "yes", "on", "True", "1")),
        *((s, False) for s in ("false", "no", "Off", "0")),
    ],
)
def test_isthing_in_yaml_is_a_flag(said: str, isthing: bool, tmp_path: Path) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(f"- {{name: lake, isthing: {said}, synonyms: }}\n")
    assert Vocabulary.parse(path).categories == (Category(("lake",), isthing),)


BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("- cat\n- !!int abc\n", "line 2 has the tag !!int"),
        ("- !!timestamp x\n", "line 1 has the tag !!timestamp"),
        ("- !!python/object/apply:os.getcwd []\n", "line 1 has the tag !!python/object"),
        ("- !mine cat\n", "line 1 has the tag !mine"),
        ("- name: cat\n  name: dog\n", "line 2 has the key `name` twice"),
        ("- {isthing: maybe, name: cat}\n", "`isthing` 'maybe'"),
        ("? [a]\n: b\n", "line 1 has a list or a mapping for a key"),
        ("- cat\n- *x\n", "line 2 is not valid YAML: found undefined alias"),
        ("- cat\n---\n- dog\n", "line 2 is not valid YAML"),
        ("- cat: dog: elk\n", "line 1 is not valid YAML"),
        ("\t- cat\n", "line 1 is not valid YAML"),
        ("- cat\n- [\n", "line 3 is not valid YAML"),
        ("- cat\n- cup\x07\n", "line 2 has a character that YAML does not allow (U+0007)"),
        ('- "\\UFFFFFFFF"\n', "not valid YAML"),
        ('- "\\ud83d"\n', "half a character"),
        ("&a [*a]\n", "lists in lists without end"),
        ("[" * 100_000, "lists in lists without end"),
        (BOMB, "more than 500000 values"),
        ("- \n", "entry 1 has no name"),
        ("- cat: [kitten]\n", "has no name"),
        ("names:\n  0: person\nnc: 1\n", "write the names that are under `names`"),
        ("cat\n", "is not a list of categories"),
    ],
)  # fmt: skip
def test_yaml_that_is_no_vocabulary_is_an_error_with_its_line(
    content: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "v.yaml"
    path.write_text(content)
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse(path)
    assert "v.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('[\n"cat",\n]', "line 3 is not valid JSON"),
        ("[NaN]", "NaN"),
        ('["cat", -Infinity]', "-Infinity"),
        ("[1" + "1" * 5000 + "]", "not valid JSON"),
        ('[{"name": "cat", "name": "dog"}]', "the key `name` twice"),
        ('["cup\\ud83d"]', "half a character"),
        ("[7]", "entry 1 is 7"),
        ("[null]", "entry 1 is None"),
        ('{"categories": null}', "`categories` is not a list"),
        ('{"categories": {"1": "cat"}}', "`categories` is not a list"),
        ('{"categories": [7]}', "category 1 is 7"),
        ('{"categories": [], "things": ["cat"]}', "`categories` and `things`"),
        ('{"images": [], "annotations": [{"caption": "A cat."}]}', "captions have no categories"),
        ('[{"image_id": 1, "category_id": 2}]', "has no name"),
        ('{"0": "cat", "1": "dog"}', "keys `0`, `1`"),
        ('[{"name": "a", "isthing": 2}]', "`isthing` 2"),
        ("", "line 1 is not valid JSON"),
    ],
)  # fmt: skip
def test_json_that_is_no_vocabulary_is_an_error(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(content)
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse(path)
    assert "v.json" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "source",
    [
        *("cat; dog, puppy", ["cat", "dog, puppy"], ("cat", ["dog", "puppy"]), [["cat"], ["dog", "puppy"]]),
        *([{"name": "cat"}, {"name": "dog", "synonyms": "puppy"}], {"things": ["cat", ["dog", "puppy"]]}),
        *([Category("cat"), "dog, puppy"], np.array(["cat", "dog, puppy"]), ["cat\n", "dog, puppy\n"]),
        *(Vocabulary.parse("cat; dog, puppy"), Vocabulary.parse("cat; dog, puppy").categories),
    ],
)
def test_a_vocabulary_is_made_of_what_python_has(source: Any) -> None:
    assert Vocabulary.of(source) == Vocabulary.parse("cat; dog, puppy")
    assert Vocabulary.parse(source) == Vocabulary.parse("cat; dog, puppy")
    assert Vocabulary.of(iter(source) if isinstance(source, list) else source).names == ("cat", "dog")


def test_a_path_is_a_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "coco"
    path.write_text("cat\n")
    assert Vocabulary.of(path).names == Vocabulary.of(str(path)).names == ("cat",)


@pytest.mark.parametrize(
    "source",
    [
        None,
        5,
        1.5,
        True,
        b"cat",
        {"cat", "dog"},
        io.StringIO("cat"),
        io.BytesIO(b"cat"),
        object(),
    ],
)
def test_what_no_vocabulary_can_be_made_of_is_an_error_that_says_what_can(source: Any) -> None:
    for make in (Vocabulary.of, Vocabulary.parse):
        with pytest.raises(VocabularyError, match=r"(?s)no vocabulary can be made of this .*a list of names"):
            make(source)


@pytest.mark.parametrize(
    "source", [[], [5], [None], [b"cat"], ["cat", ""], ["cat", "cat"], range(3), {"cat": 1}, [[]]]
)
def test_a_list_that_is_no_vocabulary_is_an_error(source: Any) -> None:
    with pytest.raises(VocabularyError) as caught:
        Vocabulary.of(source)
    assert caught.value.hint


def test_one_category_is_a_vocabulary() -> None:
    assert Vocabulary.of(Category("cat")).names == ("cat",)


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        (["coco"], "'coco'"),
        (["coco", "ade150"], "'coco+ade150'"),
        (["words.txt"], "'words.txt'"),
        (("COCO", "mine.yaml"), "'COCO+mine.yaml'"),
        (["coco", "unicorn"], "'coco+unicorn;'"),
    ],
)
def test_a_list_with_names_of_presets_and_files_is_an_error_that_joins_them(
    source: Any, instead: str
) -> None:
    with pytest.raises(VocabularyError, match=r"which is the name of a (preset|file)") as caught:
        Vocabulary.of(source)
    assert instead in str(caught.value.hint)


def test_a_list_of_files_or_vocabularies_is_an_error_that_joins_them(tmp_path: Path) -> None:
    for source in ([Vocabulary.of("cat"), Vocabulary.of("dog")], [tmp_path / "words.txt"]):
        with pytest.raises(VocabularyError, match=r"join them with \+"):
            Vocabulary.of(source)


def test_an_array_without_an_axis_is_no_vocabulary() -> None:
    assert Vocabulary.of(np.array(["cat", "dog"])).names == ("cat", "dog")
    with pytest.raises(VocabularyError, match="no vocabulary can be made of array"):
        Vocabulary.of(np.array("cat"))


@pytest.mark.parametrize("text", ["cat, dog, person", "cat dog person"])
def test_a_list_with_one_text_of_several_names_is_a_warning_that_says_how_to_write_both(text: str) -> None:
    with pytest.warns(VocabularyWarning, match="the list is read as one category") as caught:
        read = Vocabulary.of([text])
    several, one = re.findall(r"write (\[.*?\])(?=;|$)", str(caught[0].message))
    assert Vocabulary.of(ast.literal_eval(several)).names == ("cat", "dog", "person")
    assert Vocabulary.of(ast.literal_eval(one)) == read


@pytest.mark.parametrize("numbers", [{0: "cat", 1: "dog"}, {"0": "cat", "1": "dog"}])
def test_a_mapping_of_numbers_is_an_error_that_says_how_to_take_its_names(numbers: Any) -> None:
    with pytest.raises(VocabularyError, match=r"list\(names\.values\(\)\)"):
        Vocabulary.of(numbers)


def test_the_labels_of_cvat_and_cityscapes_are_read() -> None:
    label = {"name": "cat", "id": 1, "color": "#f00", "type": "any", "attributes": [], "sublabels": []}
    train = {"name": "road", "id": 7, "trainId": 0, "category": "flat", "catId": 1, "hasInstances": False}
    assert Vocabulary.of([label, train]).names == ("cat", "road")
    for wrong in ({"name": "cat", "type": "thing"}, {"category": "cat"}):
        with pytest.raises(VocabularyError, match="did you mean"):
            Vocabulary.of([wrong])


def test_a_yaml_item_that_swallows_the_next_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("- cat\n - dog\n")
    with pytest.raises(VocabularyError, match="goes on in the next line"):
        Vocabulary.parse(path)
    path.write_text("- a long name\n  of two lines\n- cat - dog\n")
    assert Vocabulary.parse(path).names == ("a long name of two lines", "cat - dog")


@pytest.mark.parametrize("categories", [("a", "b"), "abc", 5, None, [Category("a"), "b"], [["a"]]])
def test_a_vocabulary_of_what_are_no_categories_is_an_error_that_names_of(categories: Any) -> None:
    with pytest.raises(VocabularyError, match=r"(?s)is not a Category.*Vocabulary\.of"):
        Vocabulary(categories)


@pytest.mark.parametrize(
    ("names", "isthing", "says"),
    [
        (5, True, "5 are not the names"),
        (None, True, "None are not the names"),
        (b"cat", True, "are not the names"),
        ([1], True, "are not the names"),
        ((), True, "no name"),
        ([""], True, "no name"),
        (["cat"], "no", "`isthing` 'no'"),
        (["cat"], None, "`isthing` None"),
        (["cat"], 2, "`isthing` 2"),
        (["cat"], float("nan"), "`isthing` nan"),
        (["cat"], np.array([1, 0]), "`isthing`"),
        (["cat\ud83d"], True, "half a character"),
    ],
)
def test_a_category_of_other_things_is_an_error(names: Any, isthing: Any, says: str) -> None:
    with pytest.raises(VocabularyError, match=re.escape(says)):
        Category(names, isthing)


@pytest.mark.parametrize("isthing", [1, np.bool_(True), np.int64(1), 1.0])
def test_a_flag_becomes_a_boolean(isthing: Any) -> None:
    assert Category("cat", isthing).isthing is True


def test_names_with_commas_are_made_stuff_in_quotes_or_in_a_list() -> None:
    vocabulary = Vocabulary.of([["Hello, Kitty"], ["cat"], ["dog"]])
    for names in ('"Hello, Kitty", dog', ["Hello, Kitty", "dog"]):
        assert vocabulary.with_stuff(names).isthing == (False, True, False)
    with pytest.raises(VocabularyError, match=re.escape("""in double quotes: '"Hello, Kitty"'""")):
        vocabulary.with_stuff("Hello, Kitty")


@pytest.mark.parametrize("names", [5, None, b"cat", [5], "cat; dog", "cat，dog", ""])
def test_flags_for_what_are_no_names_are_an_error(names: Any) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary.of("cat; dog").with_things(names)


def test_a_category_cannot_be_both_a_thing_and_stuff() -> None:
    vocabulary = Vocabulary.of("cat, kitten; sky")
    assert vocabulary.with_flags(things="sky", stuff="cat").isthing == (False, True)
    assert vocabulary.with_flags() == vocabulary
    with pytest.raises(VocabularyError, match="'cat' is to be a thing and stuff"):
        vocabulary.with_flags(things="kitten", stuff="cat")
