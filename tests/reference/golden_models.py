"""The official model's numbers at reduced widths, and the reference with the same weights."""

from __future__ import annotations

import json
from functools import cache

from reference.model import ODISE
from tests.golden_case import GOLDENS, GoldenCase, load_golden_model

ALL_CASES = [(kind, size) for kind in ("label", "caption") for size in ("512", "nonsquare", "small")]


@cache
def golden_case(kind: str, size: str) -> GoldenCase:
    """One inference case of the official code."""
    return GoldenCase(GOLDENS / f"golden_{kind}_{size}.npz")


def golden_model(kind: str) -> ODISE:
    """The reference with the golden weights; not to be changed."""
    return load_golden_model(kind)


@cache
def golden_tokens() -> dict[str, list[int]]:
    """Tokens of every text of the goldens."""
    return json.loads((GOLDENS / "small_config.json").read_text())["tokens"]
