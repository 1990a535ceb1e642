"""Names that people look for are read as they are written, without an error or a warning."""

# ruff: noqa: RUF001 -- names in many scripts

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from odise_trt.vocabulary import Vocabulary


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder; a warning is an error."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


NAMES = [
    *("traffic light", "t-shirt", "Coca-Cola", "mother-in-law's tongue", "rock 'n' roll poster", "'57 Chevy"),
    *("C++ book", "C#", "AT&T logo", "salt & pepper", "R&B poster", "50% off sign", "$100 bill", "€20 note"),
    *("St. Bernard dog", "no. 5 perfume", "Dr. Pepper can", "U.S. flag", "U.S.A", "St.Bernard", "Mr. T."),
    *("Mrs. Claus.", "Apple Inc. logo.", "Batman vs. Superman", "wait...", "Node.js", "google.com", "v1.0"),
    *("iPhone 15", "7up can", "747", "1984", "4x4", "12 eggs", "20-year-old man", '24" monitor', "5 1/2"),
    *("a/c unit", "AC/DC", "9/11 memorial", "24/7 store", "w/o lid", "TCP/IP book", "1/2 cup", "he/she sign"),
    *("A+ sticker", "LGBTQ+ flag", "Disney+ logo", "C+D battery", "AT+T", "18+ sign", "<3 sign", ":-) face"),
    *("hello! sign", "what? sign", "@ sign", "C++", "x-ray", "50%", "*star*", "E-mail", "e-bike", "-5 sign"),
    *("person (child)", "(toy) car", "bow (weapon)", '"Stop" sign', "“Hello” sign", "‘57 Chevy’ badge"),
    *("Star Wars: A New Hope", "Bible: King James", "10:30 clock", "The dog is running. It is big."),
    *("class A amplifier", "name tag", "id card", "label maker", "None of the above", "no", "null set"),
    *("dog house", "dog bed", "car door", "tree house", "glass table", "coffee cup", "book case"),
    *("paper coffee cup", "cup and saucer", "bed and breakfast", "apple tree", "Elvis", "coconut"),
    *("coco chanel", "PC case", "pascal programmer", "all people", "default folder", "imagenet poster"),
    *("日本語", "猫。", "「猫」", "红绿灯", "자전거", "قطة", "می‌خواهم", "कुत्ता", "क्‍ष", "แมว", "ខ្មែរ"),
    *("👨‍👩‍👧‍👦", "❤️", "🏳️‍🌈", "👍🏽", "🇩🇪", "1️⃣", "naïve art", "Škoda", "straße", "½ cup", "ελληνικά"),
    "a red car parked next to the house. it is shiny",
    "a man in a red shirt who sits on the left side of a very old wooden bench and reads a newspaper",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_alone_among_others_and_in_a_list(name: str) -> None:
    assert Vocabulary.parse(name).synonyms == ((name,),)
    assert Vocabulary.parse(f"unicorn; {name}").synonyms == (("unicorn",), (name,))
    assert Vocabulary.parse(f"unicorn, {name}; wyvern").synonyms == (("unicorn", name), ("wyvern",))
    assert Vocabulary.of([name, "unicorn"]).names == (name, "unicorn")


def test_every_line_of_a_file_is_a_name_as_it_is_written() -> None:
    # 10:30 could be the number of a line there, and is asked about.
    lines = [name for name in NAMES if name != "10:30 clock"]
    Path("names.txt").write_text("\n".join(lines), encoding="utf-8")
    assert list(Vocabulary.parse("names.txt").names) == lines


COCO = "person\nbicycle\ntraffic light\nfire hydrant\nstop sign\nteddy bear\nhair drier\n"


@pytest.mark.parametrize(
    "text",
    [
        COCO,
        COCO.replace("\n", "\r\n"),
        COCO.replace("\n", "\r"),
        f"\n\n{COCO}\n\n   \n",
        COCO.replace("\n", "\n  "),
        COCO.replace("\n", "\t\n\t"),
        f"# COCO\n\n{COCO}# end\n#dog\n",
        COCO.replace("\n", "  # 1 of 80\n"),
        COCO.strip(),
        f"\ufeff{COCO}",
        COCO.replace("bicycle", "\ufeffbicycle"),
        "".join(f"{number}: {name}\n" for number, name in enumerate(COCO.splitlines())),
        "".join(f"{number}:{name}\n" for number, name in enumerate(COCO.splitlines())),
        "".join(f"'{name}'\n" for name in COCO.splitlines()),
        "".join(f'- "{name}"\n' for name in COCO.splitlines()).replace("- ", ""),
    ],
)
@pytest.mark.parametrize("path", ["coco.names", "labels.txt", "./classes"])
def test_files_with_a_name_in_each_line_are_read(path: str, text: str) -> None:
    Path(path).write_bytes(text.encode())
    assert list(Vocabulary.parse(path).names) == COCO.splitlines()


@pytest.mark.parametrize("name", ["café", "Škoda", "Zürich", "ñandú", "각", "שָׁלוֹם"])
def test_decomposed_letters_are_the_same_as_composed_ones(name: str) -> None:
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    assert Vocabulary.of(forms[0]) == Vocabulary.of(forms[1])
    assert Vocabulary.of([[*forms]]).synonyms == ((forms[0],),)
    assert Vocabulary.of(forms[0]).with_stuff(forms[1]).isthing == (False,)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("soft\u00adhyphen", "softhyphen"),
        ("\ufeffcat\u200b", "cat"),
        ("word\u2060joiner", "wordjoiner"),
        ("ខ្មែរ\u200bភាសា", "ខ្មែរភាសា"),
        ("dog\u00a0house", "dog house"),
    ],
)
def test_marks_for_the_ends_of_lines_are_dropped(name: str, kept: str) -> None:
    assert Vocabulary.of([name]).names == Vocabulary.of([[name]]).names == (kept,)
    assert Vocabulary.parse(f"{name}; unicorn").names == (kept, "unicorn")
