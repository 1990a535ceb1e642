"""The pages that people read: links lead somewhere, and the README stays a path."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    }
)
FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", (ROOT / page).read_text(encoding="utf-8"))


@cache
def anchors(page: str) -> frozenset[str]:
    """What `#...` may name on a page, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_headings_that_are_there(page: str) -> None:
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        there = path.resolve().relative_to(ROOT).as_posix() if path.exists() else None
        if there is None or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert not broken


def test_the_index_lists_every_page_of_the_documentation() -> None:
    listed = set(LINK.findall(prose("docs/README.md")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


def test_the_readme_is_a_path_and_not_a_wall() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_where_is_names_files_that_are_there() -> None:
    missing = []
    for row in re.findall(r"^\|[^|]+\| (.+) \|$", prose("docs/where-is.md"), re.MULTILINE):
        named = re.findall(r"`([^`]+)`", row)
        # Names after the first one lie in its folder, unless they have a folder of their own.
        folder = Path(named[0]).parent if named else Path()
        missing += [
            name for name in named if not (ROOT / name).exists() and not (ROOT / folder / name).exists()
        ]
    assert not missing
