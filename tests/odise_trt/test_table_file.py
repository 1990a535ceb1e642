"""A vocabulary with its text embeddings in a file for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from odise_trt import OdiseError, Segmenter, Vocabulary
from odise_trt.cli import app
from odise_trt.errors import OutputError, VocabularyError
from odise_trt.table_file import write_table
from odise_trt.text_table import TextTable, encoder_identity
from tests.odise_trt import toy_bundle


@pytest.fixture
def table() -> TextTable:
    return TextTable(
        vocabulary=Vocabulary.parse("café, bar; sky").with_flags(None, "sky"),
        clip_text_embed=np.arange(6, dtype=np.float32).reshape(3, 2),
        text_embed=np.arange(9, dtype=np.float32).reshape(3, 3),
        row_to_category=np.array([0, 0, 1]),
        isthing=np.array([True, False]),
        seen=np.array([False, True]),
    )


def test_the_file_has_names_flags_embeddings_and_encoder(table: TextTable, tmp_path: Path) -> None:
    with np.load(write_table(tmp_path / "words.npz", table, "an encoder")) as archive:
        assert str(archive["encoder"]) == "an encoder"
        assert json.loads(str(archive["names"])) == [["café", "bar"], ["sky"]]
        assert archive["isthing"].tolist() == [True, False]
        assert np.array_equal(archive["clip_text_embed"], table.clip_text_embed)
        assert np.array_equal(archive["text_embed"], table.text_embed)
        assert archive["text_embed"].dtype == np.float32


def test_a_table_is_replaced(table: TextTable, tmp_path: Path) -> None:
    write_table(tmp_path / "words.npz", table, "one")
    with np.load(write_table(tmp_path / "words.npz", table, "another")) as archive:
        assert str(archive["encoder"]) == "another"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "a diary"])
def test_a_file_that_is_no_table_is_not_replaced(content: str, table: TextTable, tmp_path: Path) -> None:
    place = tmp_path / "words.npz"
    place.write_text(content)
    with pytest.raises(OutputError, match="is not a table; it will not be replaced"):
        write_table(place, table, "an encoder")
    assert place.read_text() == content


def test_arrays_of_others_are_not_replaced(table: TextTable, tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", text_embed=np.zeros(1))
    with pytest.raises(OutputError, match="is not a table"):
        write_table(tmp_path / "words.npz", table, "an encoder")


def test_another_ending_is_refused_before_anything_is_written(table: TextTable, tmp_path: Path) -> None:
    with pytest.raises(OdiseError, match=r"end it with \.npz"):
        write_table(tmp_path / "words.txt", table, "an encoder")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle.make(tmp_path_factory.mktemp("engines") / "toy-onnxruntime-fp32")


def test_vocab_writes_the_table_of_a_bundle(toy: Path, tmp_path: Path) -> None:
    place = tmp_path / "words.npz"
    words = ["vocab", "cup, mug; sky", "--stuff", "sky", "--engines", str(toy), "--table", str(place)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    with Segmenter.open(toy, vocabulary="cup, mug; sky") as segmenter, np.load(place) as archive:
        assert str(archive["encoder"]) == encoder_identity(segmenter.bundle.manifest)
        assert archive["isthing"].tolist() == [True, False]
        assert segmenter._table is not None
        assert np.array_equal(archive["text_embed"], segmenter._table.text_embed)


def test_a_segmenter_without_a_vocabulary_has_no_table(toy: Path, tmp_path: Path) -> None:
    with Segmenter.open(toy) as segmenter, pytest.raises(VocabularyError, match="no vocabulary is set"):
        segmenter.save_table(tmp_path / "words.npz")


@pytest.mark.parametrize("option", [["--table", "words.npz"], ["--engines", "engines/demo"]])
def test_a_table_needs_a_bundle_and_the_other_way_round(option: list[str]) -> None:
    done = CliRunner().invoke(app, ["vocab", "cup", *option])
    assert done.exit_code == 2
    assert "--table and --engines belong together" in done.output
