"""Converts texts to CLIP's tokens, without torch."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Sequence
from pathlib import Path

import ftfy
import numpy as np
import tokenizers
from numpy.typing import NDArray

from .bundle.manifest import TOKENIZER
from .errors import BundleError, VocabularyError, reason

START = "<start_of_text>"
END = "<end_of_text>"
#: Fills a row after the end token. The text encoder reads its output at the end token, so it never sees this.
PAD = 0


class Tokenizer:
    """CLIP's byte-pair encoding, from the `tokenizer.json` of a bundle.

    Attributes:
        context_length: tokens per text, start and end included.
        sha256: hash of the file. It is part of the identity of everything made from its tokens.

    Raises:
        ValueError: `encoding` has no start and end of text.
    """

    def __init__(self, encoding: tokenizers.Tokenizer, sha256: str, context_length: int = 77) -> None:
        start, end = encoding.token_to_id(START), encoding.token_to_id(END)
        if start is None or end is None:
            raise ValueError(f"no {START} or {END} in it")
        self._encoding = encoding
        self._start, self._end = start, end
        self.sha256 = sha256
        self.context_length = context_length

    @classmethod
    def from_file(cls, path: Path, context_length: int = 77) -> Tokenizer:
        """Read a `tokenizer.json` (the format of Hugging Face's `tokenizers`).

        Raises:
            BundleError: the file cannot be read, or is not a tokenizer of CLIP.
        """
        try:
            content = path.read_bytes()
            encoding = tokenizers.Tokenizer.from_buffer(content)
            return cls(encoding, hashlib.sha256(content).hexdigest(), context_length)
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {reason(error)}", "build the bundle again") from error
        # `tokenizers` raises bare Exception, ValueError, and PanicException, which is not an Exception.
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            raise BundleError(
                f"{path} is not a tokenizer of CLIP: {error}", "build the bundle again"
            ) from error

    def encode(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the tokens of each text, (N, context_length): start, text, end, zeros.

        They equal those of open_clip's SimpleTokenizer, except for texts that it would cut, and for
        characters newer than the version of Unicode that `tokenizers` was built with.

        Raises:
            VocabularyError: a text is too long, or contains one of the control tokens.
            BundleError: the tokenizer is damaged, which may show only now.
        """
        cleaned = [clean(text) for text in texts]
        rows = np.full((len(cleaned), self.context_length), PAD, dtype=np.int64)
        try:
            encodings = self._encoding.encode_batch(cleaned, add_special_tokens=False)
        except Exception as error:  # bare ones: the file names a token for unknown letters that it has not
            raise BundleError(f"the bundle's {TOKENIZER} fails: {error}", "build the bundle again") from error
        for row, text, encoding in zip(rows, texts, encodings, strict=True):
            ids = encoding.ids
            if self._start in ids or self._end in ids:
                raise VocabularyError(
                    f"{_short(text)} holds {START} or {END}", "they have a meaning of their own"
                )
            room = self.context_length - 2
            if len(ids) > room:
                raise VocabularyError(
                    f"{_short(text)} has {len(ids)} tokens, CLIP reads at most {room}",
                    "use fewer words for it",
                )
            row[: len(ids) + 2] = [self._start, *ids, self._end]
        return rows


def clean(text: str) -> str:
    """Clean a text as CLIP does: repair it, decode HTML entities, collapse white space, lower the case."""
    repaired = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(repaired.split()).lower()


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
