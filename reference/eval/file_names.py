"""What the files about an image are called."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

#: Longest name of files, which get a suffix; file systems take 255 bytes, some encrypted ones 143.
_LONGEST = 130
# What a number is called: a text that looks like that is written differently.
_NUMBER = re.compile(r"-?\d{11,}")


def file_name(image_id: int | str) -> str:
    """The name of the files about an image, without suffix; two ids never have the same.

    COCO's for numbers, and for texts what file systems allow of them: a text that looks like COCO's name of a
    number, or that is too long, is written with a `%` that quoting does not write.
    """
    if isinstance(image_id, int):
        return f"{image_id:012d}"
    # Names of files on disk can have half characters, which stand for bytes that are not UTF-8.
    quoted = quote(image_id.encode("utf-8", "surrogatepass"), safe=" ")
    if _NUMBER.fullmatch(quoted):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) > _LONGEST:
        digest = hashlib.sha256(quoted.encode()).hexdigest()
        return f"{quoted[: _LONGEST - 66]}%-{digest}"
    return quoted
