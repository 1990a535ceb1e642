"""Extract the words of a caption that masks are matched with: nouns and noun phrases (ODISE, sec. 3.3).

HanTa tags the parts of speech. Its English model is part of its package, so nothing is downloaded. Its tags
are those of the British National Corpus (C5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from reference.errors import DatasetError

#: A word (with hyphens and apostrophes inside), a number, or a punctuation mark.
_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+|[^\w\s]")
#: Common and proper nouns; adjectives, their comparatives and superlatives.
_NOUNS = ("NN", "NP0")
_ADJECTIVES = ("AJ",)


def caption_words(caption: str) -> tuple[str, ...]:
    """Return the nouns and noun phrases of a caption, in lower case, not lemmatised, each once.

    A noun phrase is a sequence of adjectives and nouns that ends in a noun. "Two black cats on a pink couch"
    gives cats, black cats, couch, pink couch; "a cell phone" gives cell, phone, cell phone.

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
    """Split into phrases of adjectives and nouns; an adjective after a noun begins a new phrase."""
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
    # In lower case, or the first word of a sentence would look like a name.
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
