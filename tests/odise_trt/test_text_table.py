"""Text-embedding tables: what is in them, when they are made, and how they are kept."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from odise_trt.bundle.manifest import ModelSpec
from odise_trt.errors import BackendError, OutputError, VocabularyError
from odise_trt.text_table import TextTables
from odise_trt.tokenizer import Tokenizer
from odise_trt.vocabulary import Vocabulary

MODEL = ModelSpec(
    kind="label",
    short_side=64,
    max_side=128,
    divisor=64,
    window=64,
    num_queries=2,
    mask_embed_dim=2,
    clip_dim=3,
    clip_image_size=28,
    context_length=77,
    category_prompt=None,
    clip_prompt="a photo of a {}.",
    train_labels=(("person", "people"), ("car",)),
    alpha=0.3,
    beta=0.7,
)
CATEGORIES = Vocabulary.parse("people, folk; table; Car; truck, car")

# The subprocess test runs this very file: an encoder whose numbers can be worked out by hand.
ENCODED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_text_table import MODEL, CountingEncoder
from odise_trt.text_table import TextTables
from odise_trt.tokenizer import Tokenizer
from odise_trt.vocabulary import Vocabulary
encoder = CountingEncoder()
tokenizer = Tokenizer.from_file(Path(sys.argv[2]))
TextTables(MODEL, tokenizer, encoder, "weights", Path(sys.argv[3])).table(Vocabulary.parse(sys.argv[4]))
print(encoder.texts)
"""


class CountingEncoder:
    """Says of a text how long it is and what it begins with, and counts texts and calls."""

    def __init__(self) -> None:
        self.texts = 0
        self.chunks: list[int] = []

    def __call__(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.texts += len(tokens)
        self.chunks.append(len(tokens))
        length = (tokens != 0).sum(axis=1) - 2
        first = tokens[:, 1]
        clip_text_embed = np.stack([length, first, np.ones_like(length)], axis=1).astype(np.float32)
        return clip_text_embed, -clip_text_embed[:, :2]


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes, in which every letter is a token: `a` is 1, `b` is 2, and so on."""
    letters = {chr(code): code - 96 for code in range(97, 123)}
    others = {" ": 27, ".": 28, "<start_of_text>": 30, "<end_of_text>": 31}
    encoding = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"!": 0, **letters, **others}, merges=[]))
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    encoding.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    return Tokenizer.from_file(tokenizer_path)


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def tables(tokenizer: Tokenizer, encoder: CountingEncoder, tmp_path: Path) -> TextTables:
    return TextTables(MODEL, tokenizer, encoder, "weights", tmp_path / "vocabularies")


def made_with(tokenizer: Tokenizer, folder: Path, **changes: object) -> TextTables:
    settings: dict[str, object] = {"model": MODEL, "tokenizer": tokenizer, "identity": "weights", **changes}
    return TextTables(encoder=CountingEncoder(), folder=folder, **settings)  # type: ignore[arg-type]


def test_rows_are_the_names_in_their_two_templates(tables: TextTables) -> None:
    table = tables.table(CATEGORIES)
    lengths = np.array([6, 4, 5, 3, 5, 3])  # people folk table car truck car
    firsts = [16, 6, 20, 3, 20, 3]  # p f t c t c
    np.testing.assert_array_equal(table.text_embed, np.stack([-lengths, np.negative(firsts)], axis=1))
    # "a photo of a {}." has 14 letters, blanks and stops around the name and begins with an a.
    np.testing.assert_array_equal(table.clip_text_embed[:, 0], lengths + 14)
    np.testing.assert_array_equal(table.clip_text_embed[:, 1], np.ones(6))
    assert table.text_embed.dtype == table.clip_text_embed.dtype == np.float32


def test_rows_know_their_category_and_categories_their_first_row(tables: TextTables) -> None:
    table = tables.table(CATEGORIES)
    assert table.row_to_category.tolist() == [0, 0, 1, 2, 3, 3]
    assert table.row_to_category.dtype == np.int64
    assert table.starts.tolist() == [0, 2, 3, 4]


def test_a_category_is_seen_if_a_name_equals_a_training_name_letter_for_letter(tables: TextTables) -> None:
    assert tables.table(CATEGORIES).seen.tolist() == [True, False, False, True]


def test_every_text_is_encoded_once(tables: TextTables, encoder: CountingEncoder) -> None:
    # people, folk, table, Car, truck, car, and the same in the template.
    tables.table(CATEGORIES)
    assert encoder.texts == 12


def test_one_template_for_both_is_encoded_once(
    tokenizer: Tokenizer, encoder: CountingEncoder, tmp_path: Path
) -> None:
    model = replace(MODEL, kind="caption", category_prompt=MODEL.clip_prompt)
    table = TextTables(model, tokenizer, encoder, "weights", tmp_path).table(CATEGORIES)
    assert encoder.texts == 6
    np.testing.assert_array_equal(table.text_embed, -table.clip_text_embed[:, :2])


@pytest.mark.parametrize(("chunk", "chunks"), [(5, [5, 5, 2]), (12, [12]), (64, [12])])
def test_texts_go_to_the_encoder_in_chunks_and_come_back_in_order(
    chunk: int, chunks: list[int], tables: TextTables, tokenizer: Tokenizer
) -> None:
    encoder = CountingEncoder()
    table = TextTables(MODEL, tokenizer, encoder, "weights", None, chunk=chunk).table(CATEGORIES)
    assert encoder.chunks == chunks
    np.testing.assert_array_equal(table.text_embed, tables.table(CATEGORIES).text_embed)


def test_a_hit_runs_no_encoder_and_gives_the_same(tables: TextTables, encoder: CountingEncoder) -> None:
    first = tables.table(CATEGORIES)
    second = tables.table(CATEGORIES)
    assert encoder.texts == 12
    np.testing.assert_array_equal(first.text_embed, second.text_embed)
    np.testing.assert_array_equal(first.clip_text_embed, second.clip_text_embed)


def test_thing_flags_change_without_encoding(tables: TextTables, encoder: CountingEncoder) -> None:
    assert tables.table(CATEGORIES).isthing.tolist() == [True, False, True, True]
    flipped = CATEGORIES.with_things("table").with_stuff("folk")
    assert tables.table(flipped).isthing.tolist() == [False, True, True, True]
    assert encoder.texts == 12


def test_a_second_process_runs_no_text_encoder_and_a_changed_synonym_does(
    tokenizer_path: Path, tmp_path: Path, root: Path
) -> None:
    def texts_encoded(vocabulary: str) -> int:
        command = [sys.executable, "-c", ENCODED, str(Path(__file__).parent), str(tokenizer_path)]
        done = subprocess.run(
            [*command, str(tmp_path / "cache"), vocabulary],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    assert texts_encoded("purse, handbag; table") == 6
    assert texts_encoded("purse, handbag; table") == 0
    assert texts_encoded("purse, clutch; table") == 6


def test_everything_the_numbers_depend_on_is_in_the_key(tokenizer: Tokenizer, tmp_path: Path) -> None:
    other_tokenizer = Tokenizer.from_file(_written(tmp_path, tokenizer))
    variants = [
        made_with(tokenizer, tmp_path),
        made_with(tokenizer, tmp_path, identity="other weights"),
        made_with(tokenizer, tmp_path, model=replace(MODEL, category_prompt="a {}")),
        made_with(tokenizer, tmp_path, model=replace(MODEL, clip_prompt="a {}")),
        made_with(other_tokenizer, tmp_path),
    ]
    keys = [tables.key(CATEGORIES) for tables in variants]
    keys.append(variants[0].key(Vocabulary.parse("people; folk; table; Car; truck, car")))
    keys.append(variants[0].key(Vocabulary.parse("folk, people; table; Car; truck, car")))
    assert len(set(keys)) == len(keys)


def _written(folder: Path, tokenizer: Tokenizer) -> Path:
    encoding = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={"a": 0, "<start_of_text>": 1, "<end_of_text>": 2}, merges=[])
    )
    path = folder / "other.json"
    encoding.save(str(path))
    return path


def test_training_labels_are_not_in_the_key_but_count_at_once(tokenizer: Tokenizer, tmp_path: Path) -> None:
    made_with(tokenizer, tmp_path).table(CATEGORIES)
    retrained = made_with(tokenizer, tmp_path, model=replace(MODEL, train_labels=(("table",),)))
    assert retrained.table(CATEGORIES).seen.tolist() == [False, True, False, False]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "damage", ["empty", "text", "cut", "first byte", "data byte", "directory byte", "swapped", "NaN"]
)
def test_a_damaged_file_is_made_again_and_said_to_be(
    damage: str,
    tables: TextTables,
    encoder: CountingEncoder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = tables.table(CATEGORIES)
    path = tables.path(CATEGORIES)
    assert path is not None
    content = bytearray(path.read_bytes())
    if damage == "swapped":  # whole, but of another vocabulary
        other = Vocabulary.parse("people, folk; table; Car; trunk, car")
        tables.table(other)
        other_path = tables.path(other)
        assert other_path is not None
        content = bytearray(other_path.read_bytes())
    elif damage == "NaN":
        with np.load(path) as archive:
            arrays = dict(archive)
        arrays["text_embed"][0, 0] = np.nan
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        content = bytearray(stream.getvalue())
    elif damage.endswith("byte"):
        position = {
            "first": 0,
            "data": content.index(good.text_embed.tobytes()),
            "directory": content.rindex(b"PK\x05\x06"),
        }
        content[position[damage.split(maxsplit=1)[0]]] ^= 0xFF
    else:
        content = {"empty": bytearray(), "text": bytearray(b"no"), "cut": content[: len(content) // 2]}[
            damage
        ]
    path.write_bytes(content)
    before = encoder.texts
    with caplog.at_level(logging.WARNING):
        again = tables.table(CATEGORIES)
    assert encoder.texts == before + 12
    assert str(path) in caplog.text
    np.testing.assert_array_equal(again.text_embed, good.text_embed)
    tables.table(CATEGORIES)
    assert encoder.texts == before + 12


def test_a_flipped_byte_changes_no_number(tables: TextTables) -> None:
    good = tables.table(CATEGORIES)
    path = tables.path(CATEGORIES)
    assert path is not None
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x11]) + content[position + 1 :])
        found = tables.table(CATEGORIES)
        np.testing.assert_array_equal(found.text_embed, good.text_embed, str(position))
        np.testing.assert_array_equal(found.clip_text_embed, good.clip_text_embed, str(position))


def test_nothing_unfinished_is_left_behind(tables: TextTables) -> None:
    tables.table(CATEGORIES)
    path = tables.path(CATEGORIES)
    assert path is not None
    assert list(path.parent.iterdir()) == [path]


def test_without_a_folder_nothing_is_written(
    tokenizer: Tokenizer, encoder: CountingEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = TextTables(MODEL, tokenizer, encoder, "weights", None)
    tables.table(CATEGORIES)
    tables.table(CATEGORIES)
    assert encoder.texts == 24
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error_before_anything_is_encoded(
    tokenizer: Tokenizer, encoder: CountingEncoder, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    tables = TextTables(MODEL, tokenizer, encoder, "weights", tmp_path / "file" / "vocabularies")
    with pytest.raises(OutputError, match="ODISE_CACHE"):
        tables.table(CATEGORIES)
    assert encoder.texts == 0


def test_what_is_in_the_place_of_a_table_is_told_with_what_to_do(tables: TextTables) -> None:
    path = tables.path(CATEGORIES)
    assert path is not None
    path.mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot be read: Is a directory\n  move it away"):
        tables.table(CATEGORIES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error(
    tokenizer: Tokenizer, encoder: CountingEncoder, tmp_path: Path
) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(OutputError, match="cannot be written to"):
        TextTables(MODEL, tokenizer, encoder, "weights", tmp_path).table(CATEGORIES)


def test_a_name_that_is_too_long_is_an_error_and_writes_nothing(tables: TextTables) -> None:
    vocabulary = Vocabulary.parse("cat; " + "x" * 62)
    with pytest.raises(VocabularyError, match="a photo of a xxx"):
        tables.table(vocabulary)
    path = tables.path(vocabulary)
    assert path is not None
    assert not path.exists()


def test_numbers_that_are_not_finite_are_an_error_and_not_kept(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def broken(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full((len(tokens), 3), np.nan), np.zeros((len(tokens), 2))

    with pytest.raises(BackendError, match="not finite"):
        TextTables(MODEL, tokenizer, broken, "weights", tmp_path).table(CATEGORIES)
    assert not list(tmp_path.iterdir())


def test_an_encoder_of_another_width_than_the_manifest_says_is_an_error(tokenizer: Tokenizer) -> None:
    def wide(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(tokens), 4)), np.ones((len(tokens), 2))

    with pytest.raises(
        BackendError, match=r"the text encoder gave shape \(12, 4\), the manifest says \(12, 3\)"
    ):
        TextTables(MODEL, tokenizer, wide, "weights", None).table(CATEGORIES)


def test_the_file_says_what_it_is_of(tables: TextTables) -> None:
    tables.table(CATEGORIES)
    path = tables.path(CATEGORIES)
    assert path is not None
    with np.load(path) as file:
        assert json.loads(str(file["names"])) == [list(names) for names in CATEGORIES.synonyms]
