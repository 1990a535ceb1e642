"""Text embeddings that no encoder made, for any number of words."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from odise_trt.bundle import Bundle
from odise_trt.text_table import TextTable, TextTables, encoder_identity
from odise_trt.tokenizer import Tokenizer
from odise_trt.vocabulary import Vocabulary


def random_table(words: int, text: int = 256, clip: int = 768) -> TextTable:
    """Return a table with one name per category, of D = `text` and E = `clip` columns."""
    rng = np.random.default_rng(words)
    return TextTable(
        vocabulary=_words(words),
        clip_text_embed=rng.standard_normal((words, clip), dtype=np.float32),
        text_embed=rng.standard_normal((words, text), dtype=np.float32),
        row_to_category=np.arange(words, dtype=np.int64),
        isthing=np.ones(words, dtype=np.bool_),
        seen=np.zeros(words, dtype=np.bool_),
    )


def keep_random_table(bundle: Bundle, words: int, folder: Path) -> Vocabulary:
    """Write a table of random numbers where a segmenter looks for that of the returned vocabulary.

    So a segmenter of the bundle with `cache=folder` has any number of categories, and encodes none.

    Args:
        bundle: whose text encoder is left out.
        words: how many categories.
        folder: for the table.
    """
    model, rng = bundle.manifest.model, np.random.default_rng(words)

    def encoder(tokens: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        widths = model.clip_dim, model.mask_embed_dim
        clip, text = (rng.standard_normal((len(tokens), width), dtype=np.float32) for width in widths)
        return clip, text

    tokenizer = Tokenizer.from_file(bundle.tokenizer, model.context_length)
    identity = encoder_identity(bundle.manifest)
    tables = TextTables(model, tokenizer, encoder, identity, folder, chunk=sys.maxsize)
    return tables.table(_words(words)).vocabulary


def _words(count: int) -> Vocabulary:
    return Vocabulary.of([f"word {number}" for number in range(count)])
