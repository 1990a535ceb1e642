"""A vocabulary that could be meant otherwise: an error, or a warning, that names the other reading."""

# ruff: noqa: RUF001 -- signs that look like others are what this is about

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from odise_trt.errors import VocabularyError, VocabularyWarning
from odise_trt.vocabulary import PRESETS, Vocabulary
from odise_trt.vocabulary.other_forms import other_form


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files of many names; a warning that is not expected is an error."""
    monkeypatch.chdir(tmp_path)
    for name in ("labels.csv", "coco.names", "words", "words.txt", "my list.text"):
        Path(name).write_text("unicorn\nwyvern\n")
    Path("pets.yaml").write_text("- cat\n")
    Path("dog").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield tmp_path


ERRORS = [
    # files that are not there
    ("missing.csv", "there is no vocabulary file missing.csv"),
    ("words.tsv", "there is no vocabulary file words.tsv"),
    ("my words.labels", "there is no vocabulary file"),
    ("*.txt", "there is no vocabulary file"),
    ("words.txt labels.csv", "there is no vocabulary file"),
    ("coco+nowhere.yaml", "there is no vocabulary file nowhere.yaml"),
    ("~/nowhere.txt", "there is no vocabulary file"),
    ("http://example.org/words.txt", "download it and give the file"),
    ("my/words", "there is no vocabulary file"),
    ("dog/words of mine", "there is no vocabulary file"),
    ("C:\\Users\\me\\words", "there is no vocabulary file"),
    ("@words.txt", "the file is given without @: words.txt"),
    ("-", "/dev/stdin"),
    # files that are there, and were not joined
    ("words.txt, labels.csv", "joined with +"),
    ("words.txt; dog", "'words.txt' among its words, which is the name of a file"),
    ("dog; missing.names", "'missing.names' among its words, which is the name of a file"),
    ("coco+words", "to read the file of that name, write ./words"),
    # presets that were not joined, or are called otherwise
    ("coco,ade150", "write coco+ade150"),
    ("coco;lvis", "write coco+lvis"),
    ("coco ade150", "write coco+ade150"),
    ("COCO / LVIS", "write coco+lvis"),
    ("coco and lvis", "write coco+lvis"),
    ("coco，lvis", "write coco+lvis"),
    ("coco-lvis", "write coco+lvis"),
    ("coco plus lvis", "write coco+lvis"),
    ("ImageNet", "there is no preset"),
    ("open images", "there is no preset"),
    ("coco+mine", "'coco+mine;'"),
    ("['coco', 'lvis']", "write coco+lvis"),
    ("purse; coco", "'coco' among its words, which is the name of a preset"),
    ("COCO-133", "did you mean coco?"),
    ("ms_coco", "did you mean coco?"),
    ("coco panoptic", "did you mean coco?"),
    ("ＣＯＣＯ", "did you mean coco?"),
    ("ade20k", "did you mean ade150?"),
    ("ade", "did you mean ade150?"),
    ("ADE20K-847", "did you mean ade847?"),
    ("lvis_v1", "did you mean lvis?"),
    ("voc2012", "did you mean voc21?"),
    ("Pascal Context 459", "did you mean pc459?"),
    ("coco+ade20k", "did you mean ade150?"),
    ("coco+", "'coco+;'"),
    ("+coco", "nothing beside a +"),
    ("coco+AT+T;", "a name with a + goes in double quotes"),
    # other separators
    ("cup，mug；table", "looks like `,`"),
    ("cup、mug", "looks like `,`"),
    ("كوب، طاولة", "looks like `,`"),
    ("cup|mug", "`|`"),
    ("chair . person . dog .", "dots"),
    ("chair. person. dog.", "dots"),
    ("chair. person. dog", "dots"),
    ("a cat. a remote control.", "dots"),
    ("'cat' 'dog'", "side by side"),
    ('"cat" "dog"', "side by side"),
    ("bow (weapon, tool); cat", "a comma is between brackets"),
    ("(cat, dog)", "a comma is between brackets"),
    ("cat\tdog", "a tab"),
    ("cat\ndog\n", "several lines"),
    ("# mine\nthing: cat\nstuff: sky", "several lines"),
    ("cat\\ndog", "backslash"),
    # lists of programs
    ("('cat', 'dog')", "a programming language"),
    ("0:person; 1:bicycle", "only a line of a file may begin with a number"),
    ("1. cat; 2. dog", "a numbered list"),
    ("- cat; - dog", "an item of a list"),
    ("names: cat; dog", "it is a key"),
    ("things: cat", "it is a key"),
    ("cat: kitten; dog", "in front of a colon"),
    ("stuff：sky", "in front of a colon"),
    ("cat=1; dog=2", "a table of names"),
    ("cup # mine", "comments are for files"),
    ("salt &amp; pepper", "HTML"),
    ("$WORDS", "a variable without its value"),
    ("cat, 7", "the number 7 among its names"),
    # quotes
    ('"cat; dog"', "remove these quotes"),
    ("'cat; dog'", "remove these quotes"),
    ("“cat; dog”", "remove these quotes"),
    ('"purse, handbag"', "remove these quotes"),
    ("'coco'", "remove these quotes"),
    ('"cat; dog', "a quote that does not end"),
    ("'Hello, Kitty'; dog", '"Hello, Kitty"'),
]


@pytest.mark.parametrize(("source", "says"), ERRORS)
def test_what_is_hardly_meant_as_words_is_an_error_that_names_the_other_reading(
    source: str, says: str
) -> None:
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse(source)
    assert caught.value.hint


WARNED = [
    ("words", "write ./words", ["words"]),
    ("pets", "to read the file pets.yaml, write its suffix", ["pets"]),
    ("words.lsit", "no file of that name", ["words.lsit"]),
    ("man/woman", "no file of that name", ["man/woman"]),
    ("black/white cat", "no file of that name", ["black/white cat"]),
    ("cat/dog", "`;` stands between categories", ["cat/dog"]),
    ("cat+dog", "`+` joins presets and files", ["cat+dog"]),
    ("cocoa", "the preset is called coco", ["cocoa"]),
    ("cityscape", "the preset is called cityscapes", ["cityscape"]),
    ("ade15", "the preset is called ade150", ["ade15"]),
    ("None", "names what to look for", ["None"]),
    ("everything", "names what to look for", ["everything"]),
    ("cat, dog, person", "one category with 3 names", ["cat"]),
    ("cat dog", "one category: cat dog", ["cat dog"]),
    ("cat dog person", "one category: cat dog person", ["cat dog person"]),
    ("table lamp sky grass", "one category: table lamp sky grass", ["table lamp sky grass"]),
    ("cat and dog", "one category: cat and dog", ["cat and dog"]),
]


@pytest.mark.parametrize(("source", "says", "names"), WARNED)
def test_where_words_are_likely_too_they_are_read_with_a_warning(
    source: str, says: str, names: list[str]
) -> None:
    with pytest.warns(VocabularyWarning, match=re.escape(says)):
        assert list(Vocabulary.parse(source).names) == names


@pytest.mark.parametrize("source", [source for source, *_ in WARNED])
def test_a_semicolon_at_the_end_says_that_words_are_meant(source: str) -> None:
    assert Vocabulary.parse(f"{source};").synonyms == (tuple(source.split(", ")),)


@pytest.mark.parametrize(
    "name", ["labels.csv", "COCO-133", "coco", "24/7 store", "coco+", "ade20k", "-", "@words.txt"]
)
def test_a_semicolon_at_the_end_makes_a_name_of_every_file_and_preset(name: str) -> None:
    assert Vocabulary.parse(f"{name};").names == (name,)


@pytest.mark.parametrize(
    "name",
    [
        "cup，mug",
        "a; b",
        "Hello, Kitty",
        "- cat",
        "1. FC",
        "Star Wars: A New Hope",
        "C++",
        "a|b",
        '24" x 16"',
        "coco",
    ],
)
def test_double_quotes_make_a_name_of_everything(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    assert Vocabulary.parse(f"{quoted};").synonyms == ((name,),)
    assert Vocabulary.parse(f"dog, {quoted}; sky").synonyms == (("dog", name), ("sky",))
    assert Vocabulary.parse(f"coco+{quoted};")[133:] == Vocabulary.of([[name]])[:]
    Path("quoted.txt").write_text(f"dog, {quoted} # as it is\nsky\n", encoding="utf-8")
    assert Vocabulary.parse("quoted.txt").synonyms == (("dog", name), ("sky",))


@pytest.mark.parametrize(
    "source",
    [
        *(
            "black cat; traffic light",
            "St. Bernard; Mr. Potato Head",
            "C++ book; C# book",
            "AT+T logo; C++ book",
        ),
        *("16:9 monitor", "3:2 ratio; cat", '24" monitor; 27" tv', "'57 Chevy; dog", "#1 mug; rock 'n' roll"),
        *(
            "purse,\n handbag;\n table",
            "dog",
            "7-Eleven; 7up",
            "bow (weapon); x-ray",
            "don't walk sign; 5 1/2",
        ),
        *("café; 猫; نمر", "👩\u200d🚀; 🏴\u200d☠️", "dining table", "person; clothes"),
    ],
)
def test_words_are_read_without_a_word(source: str) -> None:
    written = [name.strip() for category in source.split(";") for name in category.split(",")]
    assert [name for category in Vocabulary.parse(source) for name in category.names] == written


def test_no_name_of_a_preset_looks_like_another_list() -> None:
    names = {name for preset in PRESETS for c in Vocabulary.preset(preset) for name in c.names}
    assert [name for name in names if other_form(name)] == []


@pytest.mark.parametrize("name", ["labels.csv", "coco.names", "./words", "my list.text", "words.txt"])
def test_an_existing_file_with_a_suffix_or_a_separator_is_read(name: str) -> None:
    assert Vocabulary.parse(name).names == ("unicorn", "wyvern")


def test_a_plus_inside_of_words_is_no_joining() -> None:
    joined = Vocabulary.parse("coco+c++;+words.txt")
    assert joined.names[133:] == ("c++", "unicorn", "wyvern")
    assert Vocabulary.parse("coco+C++, cpp; C#;").synonyms[133:] == (("C++", "cpp"), ("C#",))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('["cat", "dog, puppy"]', (("cat",), ("dog", "puppy"))),
        ("['cat', \"dog\"]", (("cat",), ("dog",))),
        ("[[cat, kitten], dog]", (("cat", "kitten"), ("dog",))),
        ('{"things": ["cat"], "stuff": [["sky"]]}', (("cat",), ("sky",))),
    ],
)
def test_a_list_in_brackets_is_read_as_the_list_it_is(
    source: str, names: tuple[tuple[str, ...], ...]
) -> None:
    assert Vocabulary.parse(source).synonyms == names
    Path("list").write_text(source)
    assert Vocabulary.parse("./list").synonyms == names


LINES = [
    ("purse, handbag; table; black cat\n", "line 1", "`;` stands between categories on the command line"),
    ("cat;\ndog;\n", "line 1", "give each category a line"),
    ("cat\n16:9 monitor\n", "line 2", '"16:9 monitor", with quotes'),
    ("3:2 ratio\n", "line 1", "or the number 3 in front of one"),
    ("cat\ndog，puppy\n", "line 2", "looks like `,`"),
    ("64 128 64 Animal\n192 0 128 Archway\n", "line 1", "a line of a table"),
    ("cat 255 0 0\n", "line 1", "a line of a table"),
    ("cat 0\ndog 1\nbird 2\n", "words.txt", "a number behind every line"),
    ("id kind names\n 0 thing cat\n", "line 1", "the head of a table"),
    ("id,name\n1,cat\n", "line 1", "the head of a table"),
    ("Idx\tRatio\tTrain\tVal\tStuff\tName\n", "line 1", "the head of a table"),
    ("preset      categories  things  what\n", "line 1", "the head of a table"),
    ("name\ncat\n", "line 1", "the head of a column, or a category?"),
    (" 0  thing  person, child\n", "line 1", "a line of a table"),
    ("1,cat\n2,dog\n", "line 1", "the number 1 among its names"),
    ("1 cat\n2 dog\n", "words.txt", "a number in front of every line"),
    ("cat\n- dog\n", "line 2", "an item of a list"),
    ("• cat\n", "line 1", "an item of a list"),
    ("1. cat\n2. dog\n", "line 1", "a numbered list"),
    ("a) cat\n", "line 1", "a numbered list"),
    ("---\n- cat\n", "line 1", "a mark of YAML"),
    ("names:\n  0: cat\n", "line 1", "it is a key"),
    ("cat: kitten\n", "line 1", "in front of a colon"),
    ("cat\tdog\n", "line 1", "a tab"),
    ("n01440764 tench\n", "line 1", "WordNet"),
    ("// mine\ncat\n", "line 1", "begin a comment with #"),
    ("<html>\n", "line 1", "a tag of another language"),
    ("classes = ['cat', 'dog']\n", "line 1", "it is a key"),
    ("cat\n\u202edog\n", "line 2", "U+202E"),
    ("cat\ufffd\n", "line 1", "a letter that was lost"),
    ('{"name": "cat"}\n{"name": "dog"}\n', "words.txt", "begins with a bracket, and is no list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "says"), LINES)
def test_a_text_file_of_another_form_is_an_error_that_names_line_and_reading(
    text: str, where: str, says: str
) -> None:
    Path("words.txt").write_text(text, encoding="utf-8")
    with pytest.raises(VocabularyError, match=re.escape(says)) as caught:
        Vocabulary.parse("words.txt")
    assert where in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["id,name\n1,cat\n", "/m/01,Cat\n", "cat;1\n", "cat\tkitten\n"])
def test_a_table_with_columns_is_asked_which_of_them_are_names(text: str) -> None:
    Path("labels.csv").write_text(text)
    with pytest.raises(VocabularyError, match="has 2 columns: which of them are names"):
        Vocabulary.parse("labels.csv")


def test_one_line_of_commas_is_one_category_and_a_warning() -> None:
    Path("words.txt").write_text("cat, dog, bird\n")
    with pytest.warns(VocabularyWarning, match="write a category per line, or `thing:` in front"):
        assert len(Vocabulary.parse("words.txt")) == 1
    Path("words.txt").write_text("thing: cat, dog, bird\n")
    assert len(Vocabulary.parse("words.txt")) == 1


def test_a_number_that_only_one_line_has_is_its_id_and_a_warning() -> None:
    Path("words.txt").write_text("cat\n12: monkeys\n")
    with pytest.warns(VocabularyWarning, match=r"words\.txt, line 2 has a number in front"):
        assert Vocabulary.parse("words.txt").names == ("cat", "monkeys")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_every_unicode_file_with_a_mark_is_read(encoding: str) -> None:
    content = "\ufeffTüte\n猫\n".encode(encoding)
    Path("words.txt").write_bytes(content)
    assert Vocabulary.parse("words.txt").names == ("Tüte", "猫")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        ("cat\n".encode("utf-16-le"), "a null character in line 1"),
        ("cat\nTüte\n".encode("latin-1"), "not UTF-8 text (byte 5, line 2)"),
        (b"PK\x03\x04", "an archive"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_what_is_no_text_is_an_error_that_says_what_it_is(content: bytes, says: str) -> None:
    Path("words.txt").write_bytes(content)
    with pytest.raises(VocabularyError, match=re.escape(says)):
        Vocabulary.parse("words.txt")


def test_the_files_of_the_documentation_are_vocabularies(root: Path) -> None:
    page = (root / "docs" / "vocabularies.md").read_text(encoding="utf-8").split("## Files")[1]
    read = []
    for language, block in re.findall(r"```(\w*)\n(.*?)```", page, re.DOTALL):
        path = Path(f"block.{language or 'txt'}")
        path.write_text(block, encoding="utf-8")
        read.append(Vocabulary.parse(path))
    text, rows, sections = read
    assert text.synonyms == (("purse", "handbag"), ("table", "desk"), ("Hello, Kitty", "16:9 monitor"))
    assert rows.synonyms == (("purse", "handbag"), ("bow", "Hello, Kitty"), ("table", "desk"))
    assert rows.isthing == (True, True, False)
    assert sections.isthing == (True, True, False, False)
