"""Words become the same tokens and the same segments in C++ as in Python."""

from __future__ import annotations

import random
import string
import subprocess
from pathlib import Path

import numpy as np
import pytest

from odise_trt import Segmenter, Vocabulary, VocabularyError
from odise_trt.tokenizer import Tokenizer
from odise_trt.vocabulary import PRESETS
from reference.scenes import SCENE_VOCABULARY, make_scene
from tests.cpp.library import Library, OdiseError

pytestmark = pytest.mark.slow

ASCII = [chr(code) for code in range(32, 127) if chr(code) != "&"]
LATIN = [chr(code) for code in range(0xC0, 0x100) if code not in (0xD7, 0xF7)]
REFUSED = "has characters that only Python prepares for CLIP"


def texts(count: int) -> list[str]:
    """Texts of many kinds: words, marks, digits, 's and the like, letters of Latin-1 anywhere."""
    numbers = random.Random(11)
    marks = ["it's", "we'LL", "don't", "12", "3d", "x.y", "--", "<b>", "</b>", "tree-house", "..."]
    words = [*marks, "cat", "Dog", "HOUSE", "a", "b", "c", " ", "  ", "\t"]
    kinds = (
        ASCII,
        [*string.ascii_letters, *" '"],
        [*"'sStTrRvVeEmMlLdD ", "'"],
        [*ASCII, *LATIN],
        [*string.ascii_lowercase, *LATIN, " "],
        words,
        [*words, *LATIN],
    )
    return ["".join(numbers.choices(numbers.choice(kinds), k=numbers.randint(0, 40))) for _ in range(count)]


def said_by_python(tokenizer: Tokenizer, text: str) -> str:
    try:
        return " ".join(map(str, tokenizer.encode([text])[0])) + " "
    except VocabularyError as error:
        return error.message


def said_by_cpp(build: Path, bundle: Path, lines: list[str]) -> list[str]:
    done = subprocess.run(
        [build / "tests" / "odise_probe", "tokens", bundle],
        input="".join(f"{line}\n" for line in lines).encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().splitlines()


def test_ten_thousand_texts_get_pythons_tokens(build: Path, bundle: Path) -> None:
    tokenizer, lines = Tokenizer.from_file(bundle / "tokenizer.json"), texts(10_000)
    refused = 0
    for line, found in zip(lines, said_by_cpp(build, bundle, lines), strict=True):
        if found.endswith(REFUSED):
            refused += 1
            assert not line.isascii(), line
        else:
            assert found == said_by_python(tokenizer, line), repr(line)
    assert refused < 4000


def test_the_names_of_all_presets_get_pythons_tokens(build: Path, bundle: Path) -> None:
    tokenizer = Tokenizer.from_file(bundle / "tokenizer.json")
    names = [name for preset in PRESETS for category in Vocabulary.preset(preset) for name in category.names]
    names = list(dict.fromkeys(f"a photo of a {name}." for name in names))
    refused = []
    for name, found in zip(names, said_by_cpp(build, bundle, names), strict=True):
        if found.endswith(REFUSED):
            refused.append(name)
        else:
            assert found == said_by_python(tokenizer, name)
    assert len(refused) < len(names) / 1000, refused


@pytest.mark.parametrize(
    "text", ["Ã©", "fish &amp; chips", "“cat”", "日本", "a\u0301", "ﬁsh", "½", "Ã cat", "a\x07b"]
)
def test_what_python_would_repair_is_refused(text: str, build: Path, bundle: Path) -> None:
    (found,) = said_by_cpp(build, bundle, [text])
    assert found.endswith(REFUSED)


def test_texts_that_clip_cannot_read_are_refused_in_the_same_words(build: Path, bundle: Path) -> None:
    tokenizer = Tokenizer.from_file(bundle / "tokenizer.json")
    lines = ["a " * 80, "q7" * 60, "an <end_of_text> inside", "<START_OF_TEXT>"]
    for line, found in zip(lines, said_by_cpp(build, bundle, lines), strict=True):
        assert found == said_by_python(tokenizer, line)
        assert not found.startswith("49406")


def test_words_give_the_segments_of_a_table(
    library: Library, bundle: Path, segmenter: Segmenter, tmp_path: Path
) -> None:
    vocabulary = SCENE_VOCABULARY + Vocabulary.parse("purse, handbag; café").with_flags(None, "café")
    segmenter.vocabulary = vocabulary
    pixels = make_scene(2).image
    with library.open(bundle) as opened:
        opened.set_table(segmenter.save_table(tmp_path / "words.npz"))
        expected = opened.segment(pixels)
        opened.set_words([(category.names, category.isthing) for category in vocabulary])
        found = opened.segment(pixels)
        assert np.array_equal(found.panoptic, expected.panoptic)
        assert found.categories == expected.categories
        for mine, theirs in zip(found.segments, expected.segments, strict=True):
            assert mine.score == pytest.approx(theirs.score, abs=1e-5)
        for words in ([], [([], True)], [(["  "], True)], [(["日本"], True)]):
            with pytest.raises(OdiseError) as caught:
                opened.set_words(words)
            assert caught.value.name == "VocabularyError"
        assert opened.segment(pixels).categories == expected.categories
