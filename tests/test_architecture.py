"""Imports obey the table in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("odise_trt", "reference", "export", "benchmarks")
#: Of these every module or package has a row.
LISTED = ("odise_trt", "reference")
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_a_room_imports_only_what_the_table_allows() -> None:
    table, wrong = rooms(), []
    for module, path in modules().items():
        room = room_of(module)
        wrong += [
            f"{path.relative_to(ROOT)}:{line}: {room} imports {room_of(target)} ({target})"
            for target, line in imports_of(module)
            if target in modules() and room_of(target) not in {room, *table[room]}
        ]
    assert wrong == []


def test_the_table_allows_no_import_of_a_room_that_stands_below() -> None:
    above: set[str] = set()
    for room, allowed in rooms().items():
        assert allowed <= above, f"{room} may import {allowed - above}, which stand below it"
        above.add(room)


def test_the_table_allows_nothing_that_is_not_used() -> None:
    used = {(room_of(module), room_of(target)) for module in modules() for target in ours(module)}
    named = {(names[0], _room(one)) for names, allowed in _rows("## Who imports whom") for one in allowed}
    runtime = {(room, other) for room, other in named if other.split(".")[0] == "odise_trt"}
    assert {pair for pair in named - used if pair not in runtime or _is_exact(pair[0])} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter({module: set(ours(module)) for module in modules()}).prepare()


def test_the_rooms_of_the_second_table_never_import_what_it_forbids() -> None:
    for room, forbidden in forbidden_packages().items():
        inside = [module for module in modules() if room_of(module) == room or module.split(".")[0] == room]
        assert inside, f"there is no room {room}"
        for module in inside:
            found = {target.split(".")[0] for target, _ in imports_of(module)} & forbidden
            assert found == set(), f"{module} imports {found}"


@cache
def rooms() -> dict[str, set[str]]:
    """Room -> the rooms it may import, in the order of the page. Several modules can be one room."""
    return {names[0]: {_room(name) for name in allowed} for names, allowed in _rows("## Who imports whom")}


def forbidden_packages() -> dict[str, set[str]]:
    """Room, or one of our packages -> packages of others that it never imports."""
    return {names[0]: set(packages) for names, packages in _rows("## What is never imported")}


def room_of(module: str) -> str:
    """The room a module belongs to."""
    name = module
    while name and name not in _names():
        name = name.rpartition(".")[0]
    missing = f"{module} stands in no row of docs/architecture.md"
    assert name, missing
    # The row of a whole package would take in every module that somebody forgot to list.
    assert name == module or name not in LISTED, missing
    return _names()[name]


@cache
def modules() -> dict[str, Path]:
    """Module -> its file."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def ours(module: str) -> Iterator[str]:
    """The modules of the product that a module imports; not itself."""
    return (target for target, _ in imports_of(module) if target in modules() and target != module)


@cache
def imports_of(module: str) -> list[tuple[str, int]]:
    """What a module imports, anywhere in its file, and in which line."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            names = [f"{source}.{alias.name}" for alias in node.names]
            found += [(name if name in modules() else source, node.lineno) for name in names]
    return found


def _names() -> dict[str, str]:
    return {name: names[0] for names, _ in _rows("## Who imports whom") for name in names}


def _room(name: str) -> str:
    assert name in _names(), f"{name} stands in a row of docs/architecture.md and has none of its own"
    return _names()[name]


def _is_exact(room: str) -> bool:
    """Whether the row names the rooms of the runtime one by one."""
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{room}`"))
    return "the runtime" not in line


@cache
def _rows(heading: str) -> list[tuple[list[str], list[str]]]:
    """The code words in the first and in the last cell of every row of a table; "the runtime" written out."""
    section = PAGE.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]
    found: list[tuple[list[str], list[str]]] = []
    for line in section.splitlines():
        if line.startswith("| `"):
            first, *_, last = line.split("|")[1:-1]
            whole = [names[0] for names, _ in found if names[0].split(".")[0] == "odise_trt"]
            allowed = re.findall(r"`([\w.]+)`", last)
            found.append(
                (re.findall(r"`([\w.]+)`", first), [*whole, *allowed] if "the runtime" in last else allowed)
            )
    return found
