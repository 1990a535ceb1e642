"""Writes CLIP's tokenizer as one file that the runtime reads without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from reference import torchvision_free  # noqa: F401

# isort: split
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors

from odise_trt.errors import ExportError
from odise_trt.files.writing import write_file
from odise_trt.tokenizer import END, START, clean

# CLIP's own pattern. It ignores case although texts are in lower case: lower-casing keeps "ſ", but CLIP reads
# "'ſ" as "'s".
_PIECES = rf"(?i:{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+)"


def write_tokenizer(path: Path) -> None:
    """Write the `tokenizer.json` of a bundle, from the vocabulary and merges in open_clip.

    It expects texts cleaned by `odise_trt.tokenizer.clean`, because the format cannot express the cleaning.
    """
    clip = SimpleTokenizer()
    tokenizer = Tokenizer(
        models.BPE(vocab=clip.encoder, merges=list(clip.bpe_ranks), end_of_word_suffix="</w>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (START, END)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, clip.encoder[token]) for token in (START, END)]
    )
    # Not `tokenizer.save`: the library reports a full disk as a plain Exception.
    write_file(path, tokenizer.to_str(pretty=False).encode())


def check_tokenizer(path: Path, texts: Iterable[str]) -> None:
    """Compare a written tokenizer with the original, text by text.

    Raises:
        ExportError: they give different tokens for a text.
    """
    clip, written = SimpleTokenizer(), Tokenizer.from_file(str(path))
    for text in texts:
        expected = clip.encode(text)
        found = written.encode(clean(text), add_special_tokens=False).ids
        if found != expected:
            raise ExportError(
                f"{path.name} makes the tokens {found} of {text!r}, CLIP makes {expected}",
                "install the versions of tokenizers and open_clip_torch that pyproject.toml names",
            )
