"""Every form in which a vocabulary is written is read back, and any text is a vocabulary or an error."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from odise_trt.errors import VocabularyError
from odise_trt.vocabulary import PRESETS, Category, Vocabulary
from odise_trt.vocabulary.names import check_name

# Letters and signs that mean something in one form or another, and some that do not.
SIGNS = "ab Cé猫7 ,;:+#\"'`-*.|/\\=[]{}()<>&$%@!?~\t，；、“”«»_"  # noqa: RUF001
WORDS = ("thing:", "stuff:", "coco", "ade150+", "no", "null", "1:", "16:9", "- ", "x.txt", "names: ", "\n")
TEXT = st.lists(st.sampled_from([*SIGNS, *WORDS]), max_size=12).map("".join)


def is_name(text: str) -> bool:
    try:
        check_name(text, "here")
    except VocabularyError:
        return False
    return True


NAMES = (st.text("abcdef XYZé日", min_size=1, max_size=6) | TEXT | st.text(max_size=8)).filter(is_name)
VOCABULARIES = st.lists(
    st.builds(Category, st.lists(NAMES, min_size=1, max_size=4), st.booleans()),
    min_size=1,
    max_size=5,
    unique_by=lambda category: category.name.casefold(),
).map(lambda categories: Vocabulary(tuple(categories)))
#: For files of the same name again and again.
SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def forms(vocabulary: Vocabulary) -> dict[str, str]:
    """The vocabulary in every form that a file may have."""
    rows = [{"names": list(c.names), "isthing": c.isthing} for c in vocabulary]
    coco = [
        {"id": n, "name": c.name, "isthing": int(c.isthing), "synonyms": list(c.names[1:])}
        for n, c in enumerate(vocabulary, 1)
    ]
    return {
        "lines.txt": vocabulary.to_text(),
        "lines": "\ufeff" + vocabulary.to_text().replace("\n", "\r\n"),
        "data.json": json.dumps(vocabulary.to_data()),
        "data.txt": json.dumps(vocabulary.to_data(), ensure_ascii=False),
        "coco.json": json.dumps({"images": [], "categories": coco}),
        "data.yaml": yaml.safe_dump(rows, allow_unicode=True),
        "data.yml": yaml.safe_dump(coco),
    }


def inline(vocabulary: Vocabulary) -> str:
    return "; ".join(vocabulary.to_text().splitlines()) + ";"


@SAME_FOLDER
@given(VOCABULARIES)
@example(Vocabulary((Category(("no", "1", "Hello, Kitty", "a; b", "#1", '"x"', "thing: y"), False),)))
@example(Vocabulary((Category("stuff"), Category("thing:"), Category("2024-02-30"), Category("\u2028x"))))
def test_a_vocabulary_is_read_back_from_every_form(tmp_path: Path, vocabulary: Vocabulary) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, text in forms(vocabulary).items():
            (tmp_path / name).write_bytes(text.encode())
            assert Vocabulary.parse(tmp_path / name) == vocabulary, name
            assert Vocabulary.parse(f"{tmp_path}/{name}") == vocabulary, name
        assert Vocabulary.parse(inline(vocabulary)) == vocabulary
        assert Vocabulary.from_data(vocabulary.to_data()) == vocabulary
        joined = Vocabulary.parse(f"scenes+{inline(vocabulary)}")
        assert joined == Vocabulary.preset("scenes") + vocabulary


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_read_back_from_every_form(preset: str, tmp_path: Path) -> None:
    vocabulary = Vocabulary.preset(preset)
    for name, text in forms(vocabulary).items():
        if preset == "ade847" and name == "data.yaml":
            continue  # its categories of one name need numbers, which this form has not
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        assert Vocabulary.parse(tmp_path / name) == vocabulary, name
    if preset != "ade847":
        assert Vocabulary.parse(inline(vocabulary)) == vocabulary


def read(make: Callable[[Any], Vocabulary], source: object) -> Vocabulary | None:
    """The vocabulary that is made of `source`; None: a typed error that says what to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return make(source)
        except VocabularyError as caught:
            error = caught
    assert error.hint
    return None


@SAME_FOLDER
@given(TEXT | st.text())
@example("'")
@example('"')
@example("+")
@example("coco+")
@example("[" * 5000)
@example("/" * 5000)
@example("a\0b.txt")
@example("~nobodyhere/x.txt")
@example('"coco"+"')
def test_any_text_is_a_vocabulary_or_a_typed_error(tmp_path: Path, text: str) -> None:
    files = [tmp_path / f"it.{suffix}" for suffix in ("txt", "json", "yaml")]
    for path in files:
        path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    for source in (text, *files, [text], [[text]]):
        vocabulary = read(Vocabulary.of, source)
        names = () if vocabulary is None else [name.casefold() for name in vocabulary.names]
        if vocabulary is not None and len(set(names)) == len(names):
            assert Vocabulary.parse(inline(vocabulary)) == vocabulary


@pytest.mark.parametrize(
    "text",
    ["x" * 50_000, "é" * 20_000, "(a, " * 3_000, "X" * 20_000 + ":", "'a' " * 3_000 + "'", "-" * 9_000],
)
def test_text_without_end_is_judged_at_once(text: str) -> None:
    start = time.perf_counter()
    for source in (text, [text, "unicorn"]):
        read(Vocabulary.of, source)
    assert time.perf_counter() - start < 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "names", "synonyms", "isthing", "id", "things", "stuff", "categories", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=150)
@given(VALUES)
def test_any_data_is_a_vocabulary_or_a_typed_error(data: object) -> None:
    found = read(Vocabulary.from_data, data)
    assert found is None or Vocabulary.from_data(found.to_data()) == found


@SAME_FOLDER
@given(st.binary(max_size=60))
@example(b"\xff\xfe\x00")
@example(b"\xff\xfe\x00\x00\x00")
def test_any_bytes_are_a_vocabulary_or_a_typed_error(tmp_path: Path, content: bytes) -> None:
    for suffix in ("txt", "json", "yaml", "csv"):
        path = tmp_path / f"any.{suffix}"
        path.write_bytes(content)
        found = read(Vocabulary.parse, path)
        assert found is None or len(found)
