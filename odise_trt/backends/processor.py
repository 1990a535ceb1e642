"""What the processor computes by itself, from the flags that Linux reports."""

from __future__ import annotations

import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
#: Arithmetic -> flags of /proc/cpuinfo, on x86 and on ARM. One of them is enough.
_FLAGS = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"}),
}
#: The names of these kinds of arithmetic, in the order of reports.
ARITHMETIC = tuple(_FLAGS)


def arithmetic(cpuinfo: Path = _CPUINFO) -> dict[str, tuple[str, ...]]:
    """Return the kinds of arithmetic that this processor has: name -> the flags that say so.

    Args:
        cpuinfo: a file in the form of /proc/cpuinfo.

    Returns:
        Of "bf16" and "int8" (products of 8-bit integers in one instruction) those that it has. Empty where
        the file cannot be read: nothing is assumed.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    have = set(line[1].split()) if line else set()
    return {name: tuple(sorted(flags & have)) for name, flags in _FLAGS.items() if flags & have}
