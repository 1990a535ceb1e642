"""Detects words of `--vocab` that look like a file, a preset, or another data set."""

from __future__ import annotations

import os
import re
import unicodedata

from .file import SUFFIXES
from .presets import known_flag

# Other names of the presets, as lower-case letters and digits, without what `_DATASET` matches.
_ALIASES = {
    "coco": r"(ms)?coco(133|80|20\d\d|dataset|instances?|stuff|captions|odise)?(train|val)?(20\d\d)?",
    "ade150": r"ade(20k)?(150|val|train)?|sceneparse(150)?|sceneparsing|adechallengedata2016",
    "ade847": r"ade(20k)?(847|full)|(full)ade(20k)?",
    "cityscapes": r"cityscapes(19|34|fine|coarse|train|val)?",
    "lvis": r"lvis(v?1|v?10|v?05|1203)?(minival|train|val)?",
    "pc59": r"(pascal|pcontext|pascalcontext|context)59|pascalcontext|pcontext|pc",
    "pc459": r"(pascal|pcontext|pascalcontext|context)459",
    "voc21": r"(pascal)?voc(20|21|20\d\d)?|pascal(20|21)?",
}
_DATASET = re.compile(r"panoptic|semantic|instance|seg(mentation)?$|v10$|dataset$")
# Names of presets that are also words.
WORDS_TOO = frozenset(("pc", "pascal"))
# Data sets whose categories other programs have, but not this one.
OTHER_DATA = re.compile(
    r"imagenet(1k|21k|22k)?|open_?images?(v\d)?|objects?365|o365|v3det|visual_?genome|sa_?1b|nuscenes|kitti|"
    r"mapillary(_?vistas)?|bdd100k|cifar_?100?|coco_?things?",
    re.IGNORECASE,
)
# Words that people write for "everything", and that programs write for a missing value.
UNSAID = re.compile(r"all|any|anything|everything|auto|default|\*|None|null|undefined|nan|NaN")

_SUFFIX = re.compile(r"\.\w*[^\W\d_]\w*$")
# Pattern of file names. St.Bernard, U.S.A, Node.js and google.com are no files.
FILE_NAME = re.compile(
    r"(?:[^\s.@]{3,}|\S*[-_]\S*)\.(?!(?:com|net|org|js|ai|io|co|tv|de|uk|gov|edu|app)$)(?:[a-z]{2,5}|[A-Z]{2,5})"
)
# AC/DC, a/c, 24/7, w/o: a slash between a few letters or numbers.
_SHORT_SLASH = re.compile(r"(?:\w{1,3}(?:/\w{0,3})+|\d+(?:/\d+)+)(?:['\W]s?)?")
_FILE_SUFFIX = re.compile(
    r"\.(txt|text|json|jsonl|ndjson|json5|yaml|yml|csv|tsv|tab|names|labels|classes|categories|lst|list|md|rst|"
    "xml|html|toml|cfg|ini|conf|data|xls|xlsx|ods|doc|docx|pdf|rtf|py|npz|npy|pkl|pt|zip|gz|tgz|parquet|"
    "png|jpe?g|webp|avif|tiff?|gif|bmp)",
    re.IGNORECASE,
)


def looks_like_path(text: str) -> bool:
    """Whether `text` has a path separator or the suffix of a vocabulary file."""
    separators = {"/", os.sep, os.altsep} - {None}
    return text.lower().endswith(SUFFIXES) or any(str(separator) in text for separator in separators)


def is_meant_as_a_file(text: str) -> bool:
    """Whether a text that names no file is probably a mistyped path: `words.csv`, `./words`, `C:\\words`."""
    first = re.split(r"[/\\]", text)[0]
    return (
        text.lower().endswith(SUFFIXES)
        or is_named_like_a_file(text)
        or text.startswith(("/", "./", "../", "~/", ".\\", "..\\"))
        or re.match(r"[A-Za-z]:[\\/]\w", text) is not None
        or (looks_like_path(text) and (first.startswith("~") or os.path.isdir(first)))
        # matches my/words, but not man/woman, AC/DC, or black/white cat
        or (
            has_a_long_slash(text)
            and " " not in text
            and all(known_flag([p]) is None for p in text.split("/"))
        )
    )


def has_a_long_slash(text: str) -> bool:
    """Whether a slash stands between longer words, or between names that presets have."""
    slashed = [word for word in text.split() if "/" in word]
    return " / " in text or any(
        not _SHORT_SLASH.fullmatch(word) or all(known_flag([part]) is not None for part in word.split("/"))
        for word in slashed
        if word != "/"
    )


def is_named_like_a_file(name: str) -> bool:
    """Whether `name` ends with the suffix of a file of lists, or of a picture."""
    return _FILE_SUFFIX.fullmatch(suffix_of(name)) is not None


def suffix_of(name: str) -> str:
    """Return the suffix of a file name, with its dot. Empty if there is no suffix with a letter in it."""
    found = _SUFFIX.search(name[-40:])
    return "" if found is None else found[0]


def is_file(path: str) -> bool:
    """Whether `path` can be read: a file, a pipe or a device."""
    return os.path.exists(path) and not os.path.isdir(path)


def alias(text: str) -> str | None:
    """Return the preset that is also known as `text`, or None."""
    name = _DATASET.sub("", bare(text))
    return next((preset for preset, pattern in _ALIASES.items() if re.fullmatch(pattern, name)), None)


def bare(text: str) -> str:
    """Return the letters and digits of `text`, in lower case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).lower())
