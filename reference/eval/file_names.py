"""Names of the files that belong to an image."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

#: Longest name without suffix. File systems take 255 bytes, some encrypted ones 143.
_LONGEST = 130
# Names of numbers. A text of this form gets another name.
_NUMBER = re.compile(r"-?\d{11,}")


def file_name(image_id: int | str) -> str:
    """Return the name of an image's files, without suffix. Different ids get different names.

    A number gets COCO's name: 12 digits. A text is percent-encoded. A text that is too long, or that has the
    form of a number's name, gets a `%` in a place where percent-encoding never writes one.
    """
    if isinstance(image_id, int):
        return f"{image_id:012d}"
    # Ids that were file names can have lone surrogates, which stand for bytes that are not UTF-8.
    quoted = quote(image_id.encode("utf-8", "surrogatepass"), safe=" ")
    if _NUMBER.fullmatch(quoted):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) > _LONGEST:
        digest = hashlib.sha256(quoted.encode()).hexdigest()
        return f"{quoted[: _LONGEST - 66]}%-{digest}"
    return quoted
