"""What a message suggests works as it is printed: in a shell, in a file, in Python."""

# ruff: noqa: RUF001 -- signs that look like others are what this is about

from __future__ import annotations

import json
import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from odise_trt.errors import VocabularyError, VocabularyWarning
from odise_trt.vocabulary import Vocabulary


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with a few vocabularies."""
    monkeypatch.chdir(tmp_path)
    for name in ("words", "words.txt"):
        Path(name).write_text("unicorn\nwyvern\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def hint(source: object) -> str:
    """What is suggested instead of `source`, which is an error or a warning (one, as warnings are errors)."""
    with pytest.raises((VocabularyError, VocabularyWarning)) as caught:
        Vocabulary.of(source)
    return str(caught.value).split("\n  ")[-1]


def typed(text: str, behind: str) -> str:
    """What a shell makes of the word that stands behind `behind` in `text`."""
    found = re.search(rf"{behind} ((?:'[^']*'|\"[^\"]*\")+)", text)
    assert found, text
    (word,) = shlex.split(found[1])
    return word


ONE_WORD = [
    *("missing.csv", "my/words", "C:\\words.txt", "~/it's.txt", "ade20k", "COCO-133", "imagenet"),
    *("coco+mine", "coco+ade20k", "coco+", "words", "words.lsit", "man/woman", "it's/their car"),
    *("all", "cocoa", "cat+dog", "cat, dog", 'cat, 24" tv', "cat's, dog's", "$x/a bc"),
    *("cat dog", "None", "coco+mine+words.txt", "coco+cat, dog", "unicorn, $5; words.txt", "coco; dog's"),
]  # fmt: skip


@pytest.mark.parametrize("source", ONE_WORD)
def test_the_semicolon_that_makes_words_is_printed_where_it_belongs(source: str) -> None:
    ended = typed(hint(source), r"(?:end with a semicolon|end with one):")
    read = Vocabulary.parse(ended)
    joined = source.startswith("coco+") and source != "coco+"
    # Nothing that was asked for is lost: what was joined is joined still.
    assert len(read) > 100 if joined else source in "; ".join(", ".join(c.names) for c in read)


NAMES = [
    *("cat|dog", "chair. person. dog.", "cup，mug", "- cat", "1. FC", "a) cat", "1 2 3 cat"),
    *("0: cat", "id: 3", "sign: stop", "a=b", "it's -> that's", "---", "// x", "<b>", "cat # dog", "[x"),
    *("n01440764 tench", "ftp://x", "a\\b", "x}", "$HOME", "%X%", "&amp", "'cat' 'dog'", '"a" "b"'),
    *("“open", "`it's"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_quotes_that_make_a_name_are_printed_as_they_are_typed(name: str) -> None:
    behind = r"(?:if it is a name, write|if it is a part of the name:)"
    for source in ("{}", "unicorn; {}", "unicorn, {}; wyvern"):
        if source == "{}" and ("//" in name or name[:1] == "["):
            continue  # another message: an address, a path, a list in brackets
        written = typed(hint(source.format(name)), behind)
        read = Vocabulary.parse(source.format(written) if source != "{}" else written)
        assert name in [known for category in read for known in category.names]

    Path("words.txt").write_text(f"unicorn\n{name}\n", encoding="utf-8")
    if "#" not in name and not re.match(r"\d+:", name):
        (line,) = re.findall(rf"{behind} (\".*\")", hint("words.txt"))
        Path("words.txt").write_text(f"unicorn\n{line}\n", encoding="utf-8")
        assert Vocabulary.parse("words.txt").names == ("unicorn", name)

    (item,) = re.findall(rf"{behind} (\[.*\])", hint([name, "unicorn"]))
    assert Vocabulary.of([json.loads(item), "unicorn"]).names == (name, "unicorn")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ('"purse, handbag"', "purse, handbag"),
        ("'Hello, Kitty'; dog", "Hello, Kitty"),
        ("bow (weapon, tool), arc; dog", "bow (weapon, tool)"),
        ("(cat, dog)", "(cat, dog)"),
        ("'it is, isn't it'; dog", "it is, isn't it"),
    ],
)
def test_a_name_with_a_comma_is_printed_as_it_is_typed(source: str, name: str) -> None:
    written = typed(hint(source), r"(?:is written|is one name, write)")
    assert Vocabulary.parse(written if written[-1] == ";" else f"{written};").names == (name,)


@pytest.mark.parametrize(
    "line", ["#1 sign", "apartment #5", "2001: A Space Odyssey", "16:9 tv", "__ignore__", "name"]
)
def test_a_line_that_could_be_read_otherwise_is_printed_as_a_name(line: str) -> None:
    Path("words.txt").write_text(f"{line}\nunicorn\n")
    (written,) = re.findall(r'(".*?")', hint("words.txt"))
    Path("words.txt").write_text(f"{written}\nunicorn\n")
    assert Vocabulary.parse("words.txt").names == (line, "unicorn")


@pytest.mark.parametrize("source", ["coco,lvis", "COCO and lvis", "['coco', 'lvis']", "coco-lvis"])
def test_presets_are_joined_as_it_is_printed(source: str) -> None:
    (joined,) = re.findall(r"write ([\w+]+);", hint(source))
    assert Vocabulary.parse(joined) == Vocabulary.preset("coco") + Vocabulary.preset("lvis")


@pytest.mark.parametrize("names", ["Hello, Kitty", "it's, a $5"])
def test_flags_name_a_category_with_a_comma_as_it_is_printed(names: str) -> None:
    vocabulary = Vocabulary.of([[names], "unicorn"])
    with pytest.raises(VocabularyError) as caught:
        vocabulary.with_stuff(names)
    written = typed(str(caught.value), "double quotes:")
    assert vocabulary.with_stuff(written).isthing == (False, True)
