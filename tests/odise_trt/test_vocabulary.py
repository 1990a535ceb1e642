"""Vocabularies: presets, the ways to write one down, joining, thing flags."""

from __future__ import annotations

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.errors import VocabularyError, VocabularyWarning
from odise_trt.vocabulary import PRESETS, Category, Vocabulary
from odise_trt.vocabulary.seen import seen_in

# Categories and things, from the data sets' own descriptions; for the last three how many are things is
# our choice, see docs/vocabularies.md.
SIZES = {
    "coco": (133, 80),
    "ade150": (150, 100),
    "cityscapes": (19, 8),
    "lvis": (1203, 1203),
    "voc21": (21, 20),
    "scenes": (20, 11),
    "pc59": (59, None),
    "pc459": (459, None),
    "ade847": (847, None),
}
#: SHA-256 of the official lists: a line per category, its names joined by commas.
OFFICIAL = {
    "coco": "81908d95021f74787efa38e2c47e69f33cea6134d7fe039852a0503265466d43",
    "ade150": "86c75fe1e8784b27040ff7cf08d37b1cb8e4a8d0ac61f033e923df1403168a4d",
    "ade847": "4359d8409114dea4f7d9a44a2638243e560e209227a72352acf9fb3bc0f81b68",
    "pc59": "d35f0ebdf401b25cee59b89d016d435696844fa5a138dcda1ed462bee8e2c34a",
    "pc459": "e25c9795c8bb2a0638fb8c34dfc7f645d1d832d2c92e77381fe9223222adf8c7",
    "voc21": "8682ff2ced4ae2bc67817c5ea8b678e29e37a22ca409154f1cf54308fdc01ab0",
    "lvis": "fd01c995065528aa30d6cc74d3da9ff5750da27313f99c2eabefa05f1a04e08b",
}


def digest(vocabulary: Vocabulary) -> str:
    text = "\n".join(",".join(names) for names in vocabulary.synonyms)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_the_categories_and_things_of_its_data_set(name: str) -> None:
    vocabulary = Vocabulary.preset(name)
    categories, things = SIZES[name]
    assert len(vocabulary) == categories
    if things is not None:
        assert sum(vocabulary.isthing) == things


@pytest.mark.parametrize("name", PRESETS)
def test_a_copy_of_a_preset_is_the_preset(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "mine.txt"
    copy.write_bytes((files("odise_trt") / "vocabularies" / f"{name}.txt").read_bytes())
    assert Vocabulary.parse(copy) == Vocabulary.preset(name)


@pytest.mark.parametrize("name", OFFICIAL)
def test_a_preset_has_the_names_of_the_official_list_in_its_order(name: str) -> None:
    # COCO's are the labels that the official weights were trained with, byte for byte.
    assert digest(Vocabulary.preset(name)) == OFFICIAL[name]


def test_coco_keeps_the_misspellings_the_model_was_trained_with() -> None:
    names = {name for category in Vocabulary.preset("coco") for name in category.names}
    assert {"childeren", "baseball feild"} <= names


def test_the_things_of_coco_come_before_its_stuff_as_in_the_panoptic_ground_truth() -> None:
    assert Vocabulary.preset("coco").isthing == (True,) * 80 + (False,) * 53


def test_cityscapes_is_in_the_order_of_the_train_ids() -> None:
    vocabulary = Vocabulary.preset("cityscapes")
    assert vocabulary.names[0] == "road"
    assert vocabulary.names[6:8] == ("traffic light", "traffic sign")
    assert vocabulary.names[11:] == (
        *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    )
    assert vocabulary.isthing == (False,) * 11 + (True,) * 8


def test_the_background_of_voc_is_stuff_and_comes_first() -> None:
    vocabulary = Vocabulary.preset("voc21")
    assert vocabulary[0].name == "background"
    assert vocabulary.isthing == (False,) + (True,) * 20


def test_an_unknown_preset_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(VocabularyError, match="coco, ade150"):
        Vocabulary.preset("ade15")


def test_an_inline_list_has_semicolons_between_categories_and_commas_between_synonyms() -> None:
    vocabulary = Vocabulary.parse(" purse,  handbag; table;black   cat ")
    assert vocabulary.synonyms == (("purse", "handbag"), ("table",), ("black cat",))


def test_case_is_kept_for_display() -> None:
    assert Vocabulary.parse("Eiffel Tower").names == ("Eiffel Tower",)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        (";", "no name"),
        ("purse;;table", "category 2"),
        ("purse,,handbag", "empty name"),
        ("purse,", "empty name"),
        ("cup; mug; Cup", "twice"),
        ("\x07;", "a control character (U+0007)"),
        ("\u3164\u200d;", "nothing in it can be seen"),
        ("coco+ade15", "'ade15'"),
        ("words.txt", "no vocabulary file"),
        ("my/words", "no vocabulary file"),
        ("coco+nowhere.yaml", "no vocabulary file"),
    ],
)
def test_a_bad_source_is_an_error_that_names_the_trouble(source: str, says: str) -> None:
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse(source)
    assert caught.value.hint


def test_a_repeated_name_inside_a_category_counts_once() -> None:
    assert Vocabulary.parse("cup, mug, cup;").synonyms == (("cup", "mug"),)


def test_a_preset_name_is_the_preset_even_beside_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").write_text("unicorn\n")
    assert len(Vocabulary.parse("COCO")) == 133
    assert Vocabulary.parse("./coco").names == ("unicorn",)


def test_a_word_is_a_category_even_beside_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table").write_text("unicorn\n")
    with pytest.warns(VocabularyWarning, match=re.escape("write ./table")):
        assert Vocabulary.parse("table").names == ("table",)
    assert Vocabulary.parse("table;").names == ("table",)


def test_a_final_semicolon_makes_a_category_of_what_looks_like_a_preset_or_a_path() -> None:
    assert Vocabulary.parse("coco;").names == ("coco",)
    assert Vocabulary.parse("24/7 store;").names == ("24/7 store",)


def test_a_plus_between_words_that_are_no_vocabularies_is_a_plus() -> None:
    assert Vocabulary.parse("AT+T logo; C++ book").names == ("AT+T logo", "C++ book")


def test_a_text_file_has_a_category_per_line_with_comments_ids_and_flags(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text(
        "# what is on my desk\n\n1:purse, handbag   # brown\n2: stuff: desk mat\n0:invalid_class_id\n"
        "7: thing: dust,lint\n8: C# book\n",
        encoding="utf-8-sig",
    )
    vocabulary = Vocabulary.parse(str(path))
    assert vocabulary.synonyms == (("purse", "handbag"), ("desk mat",), ("dust", "lint"), ("C# book",))
    assert vocabulary.isthing == (True, False, True, True)


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_form_of_the_official_lists_is_read(name: str, tmp_path: Path) -> None:
    # Numbers may have gaps, filled by a category that is none.
    lines = ["0:invalid_class_id"]
    for number, names in enumerate(Vocabulary.preset(name).synonyms):
        lines += [f"{2 * number + 1}:{','.join(names)}", f"{2 * number + 2}:invalid_class_id"]
    path = tmp_path / "official.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert Vocabulary.parse(path).synonyms == Vocabulary.preset(name).synonyms


def test_categories_in_the_json_of_coco_are_read_with_their_flags(tmp_path: Path) -> None:
    rows = [
        {"supercategory": "any", "color": [220, 20, 60], "isthing": int(category.isthing), "id": number}
        | {"name": category.name}
        for number, category in enumerate(Vocabulary.preset("coco"), 1)
    ]
    path = tmp_path / "panoptic_coco_categories.json"
    path.write_text(json.dumps(rows))
    vocabulary = Vocabulary.parse(path)
    assert vocabulary.names == Vocabulary.preset("coco").names
    assert vocabulary.isthing == (True,) * 80 + (False,) * 53


YAML = """
- purse, handbag
- [bow, "Hello, Kitty"]
- name: unicorn
  names: [magic horse]
  isthing: false
"""
LIST = [["purse", "handbag"], ["bow", "Hello, Kitty"], ["unicorn", "magic horse"]]


def test_yaml_and_json_say_the_same_in_lists_strings_and_mappings(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(YAML)
    (tmp_path / "words.json").write_text(
        '["purse, handbag", ["bow", "Hello, Kitty"],'
        ' {"name": "unicorn", "names": ["magic horse"], "isthing": false}]'
    )
    from_yaml = Vocabulary.parse(tmp_path / "words.yaml")
    assert from_yaml == Vocabulary.parse(tmp_path / "words.json")
    assert [list(names) for names in from_yaml.synonyms] == LIST
    assert from_yaml.isthing == (True, True, False)


def test_a_name_beside_a_list_of_names_is_not_split_and_one_alone_is() -> None:
    rows = [{"name": "Hello, Kitty", "names": ["Hello, Kitty", "bow"]}, {"name": "purse, handbag"}]
    assert Vocabulary.from_data(rows).synonyms == (("Hello, Kitty", "bow"), ("purse", "handbag"))


def test_ids_tell_categories_of_one_name_apart() -> None:
    bags = [{"id": 1, "names": ["bag", "gift bag"]}, {"id": 2, "names": ["bag", "suitcase"]}]
    assert Vocabulary.from_data(bags).synonyms == (("bag", "gift bag"), ("bag", "suitcase"))
    with pytest.raises(VocabularyError, match="'bag' is there twice"):
        Vocabulary.from_data([bags[0], {"names": ["bag", "suitcase"]}])


def test_yaml_may_have_things_and_stuff_apart(tmp_path: Path) -> None:
    (tmp_path / "words.yml").write_text("things: [wall]\nstuff: ['person, people', [crowd]]\n")
    vocabulary = Vocabulary.parse(tmp_path / "words.yml")
    assert vocabulary.synonyms == (("wall",), ("person", "people"), ("crowd",))
    assert vocabulary.isthing == (True, False, False)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b"[", "not valid JSON"),
        ("a.json", b"{}", "keys (none)"),
        ("a.json", b'"purse"', "not a list"),
        ("a.json", b"[[]]", "no name"),
        ("a.json", b'[{"isthing": true}]', "`isthing`"),
        ("a.json", b'[{"name": "a", "isThing": true}]', "`isThing`"),
        ("a.json", b'[{"name": "a", "isthing": "no"}]', "'no'"),
        ("a.json", b'{"things": [{"name": "a", "isthing": false}]}', "contradicts"),
        ("a.json", b"[" * 100_000, "not valid JSON"),
        ("a.json", b"[]", "empty"),
        ("a.yaml", b"a: [\n", "not valid YAML"),
        ("a.yaml", b"", "empty"),
        ("a.txt", b"# only a comment\n", "empty"),
        ("a.txt", b"ok\n3:\n", "line 2 has no name"),
        ("a.txt", b"\xff\xd8\xff\xe0", "not UTF-8"),
    ],
)
def test_a_bad_file_is_an_error_that_names_file_and_trouble(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse(tmp_path / name)
    assert name in str(caught.value)


def test_a_folder_is_not_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="cannot be read"):
        Vocabulary.parse(tmp_path)


def test_own_words_are_things_or_stuff_as_the_presets_have_them() -> None:
    # COCO: sky is stuff, cat is a thing. ADE20K: lake is stuff. Cityscapes: terrain is stuff. LVIS: puffin.
    vocabulary = Vocabulary.parse("Sky; cat; lake; terrain; puffin; flux capacitor")
    assert vocabulary.isthing == (False, True, False, False, True, True)


def test_a_synonym_can_tell_whether_a_word_is_a_thing() -> None:
    assert Vocabulary.parse("heaven, sky;").isthing == (False,)


def test_things_and_stuff_can_be_overridden_by_any_name() -> None:
    vocabulary = Vocabulary.parse("purse, handbag; table; sky").with_stuff("Handbag").with_things(["table"])
    assert vocabulary.isthing == (False, True, False)


def test_an_override_of_an_unknown_name_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(VocabularyError, match="did you mean table"):
        Vocabulary.parse("purse; table").with_things("tabel")


def test_an_override_prefers_the_category_shown_by_that_name() -> None:
    # "plate" is a synonym of COCO's dining table, and the shown name of a category of ADE20K.
    vocabulary = Vocabulary.parse("coco+ade150").with_stuff("plate")
    assert vocabulary.isthing[vocabulary.names.index("dining table")]
    assert not vocabulary.isthing[vocabulary.names.index("plate")]


def test_joining_merges_categories_that_are_shown_among_each_others_names() -> None:
    joined = Vocabulary.parse("couch, sofa; dining table, plate") + Vocabulary.parse(
        "Sofa, couch, divan; plate"
    )
    assert joined.synonyms == (("couch", "sofa", "divan"), ("dining table", "plate"), ("plate",))


def test_joining_keeps_the_flag_of_the_earlier_category() -> None:
    stuff = Vocabulary((Category(("table",), isthing=False),))
    thing = Vocabulary((Category(("table", "desk"), isthing=True),))
    assert (stuff + thing).categories == (Category(("table", "desk"), isthing=False),)


def test_presets_files_and_words_join(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("unicorn\n")
    vocabulary = Vocabulary.parse(f"coco + {path} + purse;")
    assert vocabulary.names[133:] == ("unicorn", "purse")


def test_coco_ade150_and_lvis_join_without_a_category_shown_twice() -> None:
    vocabulary = Vocabulary.parse("coco+ade150+lvis")
    assert len(set(vocabulary.names)) == len(vocabulary)
    every = {name for category in vocabulary for name in category.names}
    for preset in ("coco", "ade150", "lvis"):
        assert every >= {name for category in Vocabulary.preset(preset) for name in category.names}


WORD = st.text("abcdefgh XYZé日", min_size=1, max_size=6).filter(str.strip)
CATEGORIES = st.lists(
    st.lists(WORD, min_size=1, max_size=4),
    min_size=1,
    max_size=6,
    unique_by=lambda names: " ".join(names[0].split()).casefold(),
)


def made(categories: list[list[str]]) -> Vocabulary:
    return Vocabulary(tuple(Category(tuple(names)) for names in categories))


@given(CATEGORIES)
def test_what_is_written_inline_is_read_back(categories: list[list[str]]) -> None:
    source = ";".join(",".join(names) for names in categories) + ";"
    assert Vocabulary.parse(source).synonyms == made(categories).synonyms


@given(CATEGORIES, CATEGORIES)
def test_a_join_has_every_name_of_both_and_begins_with_the_first(
    left: list[list[str]], right: list[list[str]]
) -> None:
    first, second = made(left), made(right)
    joined = first + second
    folded = {name.casefold() for category in joined for name in category.names}
    assert folded == {name.casefold() for category in (*first, *second) for name in category.names}
    assert joined.names[: len(first)] == first.names
    assert all(new.names[: len(old.names)] == old.names for old, new in zip(first, joined, strict=False))


def test_a_category_is_seen_when_any_of_its_names_equals_any_training_name() -> None:
    categories = (("person", "people"), ("sky",), ("unicorn",))
    assert seen_in(categories, (("human", "people"), ("Sky",), ("magic",))) == (True, False, False)
    assert seen_in(categories, ()) == (False, False, False)
