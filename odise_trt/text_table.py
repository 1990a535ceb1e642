"""The text embeddings of a vocabulary as a table, made once and kept on disk.

Making a table runs the text encoder on every name. A cache hit only reads a file. The file name is a hash of
everything that the numbers depend on. So a changed synonym, template, tokenizer or model gives another file,
and no table has to be invalidated.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .bundle.manifest import Manifest, ModelSpec
from .errors import BackendError, BundleError, OutputError, hint_for, reason
from .table_cache import ensure_writable, replacing_table
from .tokenizer import Tokenizer
from .vocabulary import Vocabulary
from .vocabulary.seen import seen_in

#: Format version of the files. It is part of every key, so files of another format are never read.
FORMAT = 1
TEXT_ENCODER = "text_encoder"

Floats = NDArray[np.float32]
#: tokens (N, context_length) int64 -> clip_text_embed (N, E), text_embed (N, D).
Encoder = Callable[[NDArray[np.int64]], tuple[Floats, Floats]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TextTable:
    """A vocabulary as the model sees it: K categories, K' names.

    Attributes:
        clip_text_embed: (K', E) CLIP's text features of the names in the template of `clip_mask_embed`.
        text_embed: (K', D) projected text features in the template of `mask_embed`.
        row_to_category: (K',) int64, ascending; every category has at least one row.
        isthing: (K,) bool.
        seen: (K,) bool, whether one of the names equals a name that the model was trained with.
    """

    vocabulary: Vocabulary
    clip_text_embed: Floats
    text_embed: Floats
    row_to_category: NDArray[np.int64]
    isthing: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """(K,) the first row of every category."""
        return np.searchsorted(self.row_to_category, np.arange(len(self.vocabulary)))

    @cached_property
    def unit_clip_text_embed(self) -> Floats:
        """`clip_text_embed` with rows of length one."""
        return unit(self.clip_text_embed)

    @cached_property
    def unit_text_embed(self) -> Floats:
        """`text_embed` with rows of length one."""
        return unit(self.text_embed)


class TextTables:
    """Makes tables and keeps them on disk.

    Args:
        model: prompts, training labels and widths.
        encoder: runs the text encoder. It is called only on a cache miss, so it may open the engine then.
        identity: identity of the encoder and its weights, see `encoder_identity`.
        folder: where tables are kept. None: they are not kept, and each call encodes.
        chunk: the most texts that are encoded at once.
    """

    def __init__(
        self,
        model: ModelSpec,
        tokenizer: Tokenizer,
        encoder: Encoder,
        identity: str,
        folder: Path | None,
        chunk: int = 64,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._identity = identity
        self._folder = folder
        self._chunk = chunk

    def table(self, vocabulary: Vocabulary) -> TextTable:
        """Return the table of a vocabulary. It is read from the folder, or made and written there.

        Raises:
            VocabularyError: a name is too long for the tokenizer.
            OutputError: the folder cannot be read or written.
            BackendError: the text encoder failed.
        """
        names = [name for category in vocabulary for name in category.names]
        path = self.path(vocabulary)
        embeds = None if path is None else self._read(path, vocabulary)
        if embeds is None:
            if path is not None:
                ensure_writable(path.parent)
            embeds = self._encode(names)
            if path is not None:
                _write(path, vocabulary, *embeds)
        clip_text_embed, text_embed = embeds
        sizes = [len(category.names) for category in vocabulary]
        return TextTable(
            vocabulary=vocabulary,
            clip_text_embed=clip_text_embed,
            text_embed=text_embed,
            row_to_category=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
            isthing=np.array(vocabulary.isthing, dtype=np.bool_),
            seen=np.array(seen_in(vocabulary.synonyms, self._model.train_labels), dtype=np.bool_),
        )

    def path(self, vocabulary: Vocabulary) -> Path | None:
        """Return the path of a vocabulary's table, whether it exists or not. None: tables are not kept."""
        return None if self._folder is None else self._folder / f"{self.key(vocabulary)}.npz"

    def key(self, vocabulary: Vocabulary) -> str:
        """Return the SHA-256 of everything that the numbers depend on. Thing flags do not count."""
        parts = {
            "format": FORMAT,
            "names": vocabulary.synonyms,
            "category_prompt": self._model.category_prompt,
            "clip_prompt": self._model.clip_prompt,
            "context_length": self._tokenizer.context_length,
            "tokenizer": self._tokenizer.sha256,
            "encoder": self._identity,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _encode(self, names: Sequence[str]) -> tuple[Floats, Floats]:
        clip_texts = [self._model.clip_prompt.format(name) for name in names]
        prompt = self._model.category_prompt
        texts = list(names) if prompt is None else [prompt.format(name) for name in names]
        # Each text is encoded once: synonyms recur across categories, and the two templates may be equal.
        row = {text: i for i, text in enumerate(dict.fromkeys([*clip_texts, *texts]))}
        tokens = self._tokenizer.encode(list(row))
        clip_text_embed = np.empty((len(row), self._model.clip_dim), np.float32)
        text_embed = np.empty((len(row), self._model.mask_embed_dim), np.float32)
        for start in range(0, len(row), self._chunk):
            part = slice(start, start + self._chunk)
            for whole, embeds in zip((clip_text_embed, text_embed), self._encoder(tokens[part]), strict=True):
                if embeds.shape != whole[part].shape:
                    raise BackendError(
                        f"the text encoder gave shape {embeds.shape}, the manifest says {whole[part].shape}",
                        "build the bundle again",
                    )
                whole[part] = embeds
        if not (np.isfinite(clip_text_embed).all() and np.isfinite(text_embed).all()):
            raise BackendError(
                "the text encoder gave numbers that are not finite", "check or rebuild its engine"
            )
        return clip_text_embed[[row[t] for t in clip_texts]], text_embed[[row[t] for t in texts]]

    def _read(self, path: Path, vocabulary: Vocabulary) -> tuple[Floats, Floats] | None:
        count = sum(len(category.names) for category in vocabulary)
        shapes = ((count, self._model.clip_dim), (count, self._model.mask_embed_dim))
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            hint = hint_for(error) or "move it away: it is made again"
            raise OutputError(f"{path} cannot be read: {reason(error)}", hint) from error
        with file:
            try:
                with np.load(file, allow_pickle=False) as arrays:
                    embeds = arrays["clip_text_embed"], arrays["text_embed"]
                    whole = (
                        str(arrays["names"]) == _names(vocabulary)
                        and tuple(e.shape for e in embeds) == shapes
                        and all(e.dtype == np.float32 and np.isfinite(e).all() for e in embeds)
                    )
            except Exception:  # zipfile and numpy can raise nearly any error on damaged files
                whole = False
        if not whole:
            # A damaged table is made again, and the log says so.
            _log.warning("%s is damaged, encoding its vocabulary again", path)
            return None
        return embeds


def encoder_identity(manifest: Manifest) -> str:
    """Return the identity of a bundle's text encoder: weights, files, backend.

    Raises:
        BundleError: the bundle has no text encoder, or no hash for one of its files.
    """
    stage = manifest.stage(TEXT_ENCODER)
    if unknown := [name for name in stage.files if name not in manifest.files]:
        raise BundleError(f"the manifest has no hash for {unknown[0]}", "build the bundle again")
    parts = {
        "weights": manifest.weights.get("sha256"),
        "files": {name: manifest.files[name]["sha256"] for name in stage.files},
        "backend": manifest.backend.get("name"),
        "precision": manifest.precision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Scale vectors of the last axis to length one. Zeros stay zeros (torch's normalize, eps 1e-12)."""
    vectors = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float32)


def _write(path: Path, vocabulary: Vocabulary, clip_text_embed: Floats, text_embed: Floats) -> None:
    with replacing_table(path) as file:
        np.savez(
            file,
            names=np.array(_names(vocabulary)),
            clip_text_embed=clip_text_embed,
            text_embed=text_embed,
        )


def _names(vocabulary: Vocabulary) -> str:
    return json.dumps(vocabulary.synonyms)
