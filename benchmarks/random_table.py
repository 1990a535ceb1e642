"""Text embeddings that no encoder made, for any number of words."""

from __future__ import annotations

import numpy as np

from odise_trt.text_table import TextTable
from odise_trt.vocabulary import Vocabulary


def random_table(words: int, text: int = 256, clip: int = 768) -> TextTable:
    """Return a table with one name per category, of D = `text` and E = `clip` columns."""
    rng = np.random.default_rng(words)
    return TextTable(
        vocabulary=Vocabulary.of([f"word {number}" for number in range(words)]),
        clip_text_embed=rng.standard_normal((words, clip), dtype=np.float32),
        text_embed=rng.standard_normal((words, text), dtype=np.float32),
        row_to_category=np.arange(words, dtype=np.int64),
        isthing=np.ones(words, dtype=np.bool_),
        seen=np.zeros(words, dtype=np.bool_),
    )
