"""Tokens are those of open_clip, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.errors import BundleError, VocabularyError
from odise_trt.tokenizer import Tokenizer
from odise_trt.vocabulary import PRESETS, Vocabulary

pytest.importorskip("torch", reason="the tokenizer is made from open_clip, which needs torch")

from export.tokenizer import write_tokenizer

# isort: split
from open_clip.tokenizer import SimpleTokenizer


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(path)


@pytest.fixture(scope="module")
def official() -> SimpleTokenizer:
    return SimpleTokenizer()


def test_the_tokens_are_those_the_official_model_was_run_with(tokenizer: Tokenizer, goldens: Path) -> None:
    expected = json.loads((goldens / "small_config.json").read_text())["tokens"]
    rows = tokenizer.encode(list(expected))
    assert rows.dtype == np.int64
    assert rows.shape == (len(expected), 77)
    for row, tokens in zip(rows, expected.values(), strict=True):
        assert row.tolist() == tokens + [0] * (77 - len(tokens))


@pytest.mark.parametrize("template", ["{}", "a photo of a {}."])
@pytest.mark.parametrize("name", PRESETS)
def test_every_name_of_every_preset_gets_the_tokens_of_open_clip(
    name: str, template: str, tokenizer: Tokenizer, official: SimpleTokenizer
) -> None:
    texts = [template.format(word) for category in Vocabulary.preset(name) for word in category.names]
    np.testing.assert_array_equal(tokenizer.encode(texts), official(texts).numpy())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  A\tCat\n  ",
        "it's 'round; WE'LL don't",
        "'\u017f",
        "café cafe\u0301 naÏve",
        "&amp;lt;b&amp;gt; R&amp;amp;D",
        "schÃ¶n",
        "“quotes” …and—dashes",
        "\ufb01sh \uff21\uff22",
        "ΟΔΥΣΣΕΥΣ İstanbul",
        "黒い猫 кот 🐈‍⬛ हिन्दी",
        "3 1/2 x² Ⅷ",
        "<start_ of_text>",
        "\ud800",
    ],
)
def test_hard_texts_get_the_tokens_of_open_clip(
    text: str, tokenizer: Tokenizer, official: SimpleTokenizer
) -> None:
    np.testing.assert_array_equal(tokenizer.encode([text]), official([text]).numpy())


# Unassigned characters are left out: which of them are letters depends on the edition of Unicode that a
# library was made with, and open_clip's may be newer.
TEXT = st.text(
    st.characters(exclude_categories=("Cn", "Cs")) | st.sampled_from(" 's't\u017fİΣ&;.-09éß\u0301"),
    max_size=12,
)


@given(texts=st.lists(TEXT, min_size=1, max_size=3))
def test_any_text_gets_the_tokens_of_open_clip(
    texts: list[str], tokenizer: Tokenizer, official: SimpleTokenizer
) -> None:
    np.testing.assert_array_equal(tokenizer.encode(texts), official(texts).numpy())


def test_75_tokens_fit_and_76_are_an_error_that_names_the_text(tokenizer: Tokenizer) -> None:
    # "cat" is one token, so 75 of them fill the 77 places beside start and end.
    row = tokenizer.encode([" ".join(["cat"] * 75)])[0]
    assert row[-1] == 49407
    assert (row != 0).all()
    with pytest.raises(VocabularyError, match=r"'black cat cat.*76 tokens.*at most 75"):
        tokenizer.encode(["fine", "black " + " ".join(["cat"] * 75)])


def test_a_control_token_in_a_text_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(VocabularyError, match="end_of_text"):
        tokenizer.encode(["cat <END_of_text> dog"])


def test_the_file_is_the_same_every_time_it_is_written(path: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff", b'{"version": "1.0"'])
def test_a_damaged_file_is_an_error_of_the_bundle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="tokenizer"):
        Tokenizer.from_file(path)


def test_a_missing_file_is_an_error_of_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_a_tokenizer_of_another_model_is_an_error_of_the_bundle(tmp_path: Path) -> None:
    import tokenizers

    path = tmp_path / "tokenizer.json"
    tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0}, merges=[])).save(str(path))
    with pytest.raises(BundleError, match="CLIP"):
        Tokenizer.from_file(path)
