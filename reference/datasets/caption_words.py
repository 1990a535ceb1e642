"""Words of a caption that masks can be matched with: nouns and noun phrases (ODISE, sec. 3.3).

Parts of speech come from HanTa, whose English model is inside its package: nothing is downloaded. Its tags
are those of the British National Corpus (C5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from reference.errors import DatasetError

#: Words, numbers and punctuation, apart; hyphens and apostrophes inside of words stay.
_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+|[^\w\s]")
#: Common and proper nouns; adjectives, their comparatives and superlatives.
_NOUNS = ("NN", "NP0")
_ADJECTIVES = ("AJ",)


def caption_words(caption: str) -> tuple[str, ...]:
    """Nouns and noun phrases of a caption, in lower case, as they are written, each once.

    A noun phrase is a run of adjectives and nouns that ends in a noun. "Two black cats on a pink couch" gives
    cats, black cats, couch, pink couch; "a cell phone" gives cell, phone, cell phone.

    Raises:
        DatasetError: HanTa is not installed.
    """
    words: dict[str, None] = {}
    for phrase in _phrases(_tagged(caption)):
        nouns = [word for word, is_noun in phrase if is_noun]
        words.update(dict.fromkeys(nouns))
        words.setdefault(" ".join(word for word, _ in phrase))
    return tuple(words)


def _phrases(tagged: Sequence[tuple[str, str]]) -> list[list[tuple[str, bool]]]:
    """Adjectives and nouns in a row, cut behind a noun that an adjective follows."""
    phrases: list[list[tuple[str, bool]]] = []
    current: list[tuple[str, bool]] = []
    for word, tag in [*tagged, ("", "")]:
        is_noun, is_adjective = tag.startswith(_NOUNS), tag.startswith(_ADJECTIVES)
        if current and current[-1][1] and not is_noun:
            phrases.append(current)
            current = []
        if is_noun or is_adjective:
            current.append((word, is_noun))
        else:
            current = []
    return phrases


def _tagged(caption: str) -> list[tuple[str, str]]:
    # In lower case: the first word of a sentence would look like a name.
    tokens = _TOKEN.findall(caption.lower())
    if not tokens:
        return []
    return [(word, tag) for word, _, tag in _tagger().tag_sent(tokens)]


@cache
def _tagger() -> Any:
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise DatasetError(
            "captions need the part-of-speech tagger HanTa, which is not installed",
            'pip install -e ".[train]"',
        ) from error
    return HanoverTagger("morphmodel_en.pgz")
