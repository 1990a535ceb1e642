"""The tokenizer's file on its own: what a reader without our code gets from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers

pytest.importorskip("torch", reason="the tokenizer is made from open_clip, which needs torch")

from export.tokenizer import write_tokenizer


def test_the_file_alone_adds_start_and_end(tmp_path: Path, goldens: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json")
    encoding = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    expected = json.loads((goldens / "small_config.json").read_text())["tokens"]
    assert {text: encoding.encode(text).ids for text in expected} == expected
    assert encoding.get_vocab_size() == 49408
