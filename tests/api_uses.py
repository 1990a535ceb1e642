"""What our code asks of another library: found in its syntax, and held against what the library has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Use:
    """One place where a member of the library is used.

    Attributes:
        place: file and line.
        member: "Class.member", or the name of something in the module.
        kind: "call", "get", "set" or "override".
        positional, keywords: arguments of a call. For an override, the number of its parameters.
        is_optional: whether the code asks if the member is there.
    """

    place: str
    member: str
    kind: str
    positional: int = 0
    keywords: tuple[str, ...] = ()
    is_optional: bool = False


def uses_of(path: Path, root: Path, objects: Mapping[str, str]) -> list[Use]:
    """Every use in a file.

    Args:
        path: the file.
        root: of the repository.
        objects: expression -> the class of what it stands for. "": the module itself. "function: expression"
            holds in one function only.
    """
    finder = _Finder(str(path.relative_to(root)), objects)
    finder.visit(ast.parse(path.read_text(encoding="utf-8")))
    return finder.uses


def results_of(path: Path, objects: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each expression that a call's result is assigned to, and the member that was called."""
    finder = _Finder(path.name, objects)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            member = finder.member(value.func)
            for target in targets:
                if member is not None and isinstance(target, ast.Name | ast.Attribute):
                    yield ast.unparse(target), member


def attributes_of(path: Path) -> Iterator[tuple[str, str]]:
    """Each attribute in a file: the expression before the dot, and the name after it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node.value), node.attr


class _Finder(ast.NodeVisitor):
    def __init__(self, name: str, objects: Mapping[str, str]) -> None:
        self._name, self._objects = name, objects
        self._function = ""
        self.uses: list[Use] = []

    def member(self, node: ast.Attribute) -> str | None:
        owner = self._owner(node.value)
        return None if owner is None else f"{owner}.{node.attr}" if owner else node.attr

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._function = self._function, node.name
        self.generic_visit(node)
        self._function = outer

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name) and function.id == "getattr":
            owner, name = self._owner(node.args[0]), node.args[1]
            if owner is not None and isinstance(name, ast.Constant):
                member = f"{owner}.{name.value}" if owner else str(name.value)
                self._add(node, member, "get", is_optional=len(node.args) == 3)
        elif isinstance(function, ast.Attribute) and (called := self.member(function)) is not None:
            keywords = tuple(str(keyword.arg) for keyword in node.keywords)
            own = called.endswith(".__init__") and bool(node.args)  # Base.__init__(self)
            self._add(node, called, "call", len(node.args) - own, keywords)
            self.visit(function.value)
            for argument in (*node.args, *node.keywords):
                self.visit(argument)
            return
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        member = self.member(node)
        if member is not None:
            self._add(node, member, "set" if isinstance(node.ctx, ast.Store) else "get")
        self.visit(node.value)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            owner = self.member(base) if isinstance(base, ast.Attribute) else None
            for method in node.body if owner is not None else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    self._add(method, f"{owner}.{method.name}", "override", len(method.args.args) - 1)
        self.generic_visit(node)

    def _owner(self, node: ast.expr) -> str | None:
        """The class of an expression, "" for the module. None: it is nothing of the library."""
        text = ast.unparse(node)
        for key in (f"{self._function}: {text}", text):
            if key in self._objects:
                return self._objects[key]
        if isinstance(node, ast.Attribute) and self._owner(node.value) == "":
            return node.attr
        return None

    def _add(self, node: Any, member: str, kind: str, *arguments: Any, is_optional: bool = False) -> None:
        place = f"{self._name}:{node.lineno}"
        self.uses.append(Use(place, member, kind, *arguments, is_optional=is_optional))


def misfit(use: Use, found: str | None) -> str | None:
    """Why a use does not fit what the library has. None: it fits.

    Args:
        use: the use.
        found: None: there is no such member. "r", "w", "rw": a property. "value": a constant or a class.
            Otherwise its signatures: "(strategy=) (runtime_config=)", where "=" marks what has a default.
    """
    if found is None:
        return None if use.is_optional else "it does not exist"
    if found.startswith("("):
        forms = [form.split(", ") if form else [] for form in re.findall(r"\(([^)]*)\)", found)]
        if use.kind in ("get", "set"):
            return None if use.is_optional else "it is a method"
        if use.kind == "override":
            return None if any(len(form) == use.positional for form in forms) else f"its form is {found}"
        return None if any(_takes(form, use) for form in forms) else f"its form is {found}"
    if use.kind == "call":
        return None if found == "value" else "it is no method"
    wanted = {"get": "r", "set": "w"}.get(use.kind, "")
    return None if found == "value" or wanted in found else f"it can only be used as {found}"


def _takes(form: list[str], use: Use) -> bool:
    names = [name.rstrip("=") for name in form]
    given = {*names[: use.positional], *use.keywords}
    needed = {name for name in form if not name.endswith("=")}
    return (
        use.positional <= len(names) and set(use.keywords) <= set(names[use.positional :]) and needed <= given
    )


def form_in(module: Any, member: str) -> str | None:
    """What a module made by pybind11 has under a name, as `misfit` takes it. None: there is nothing.

    Signatures are read from the first lines of docstrings.
    """
    owner: Any = module
    *parents, name = member.split(".")
    for parent in parents:
        owner = getattr(owner, parent, None)
    if owner is None or not hasattr(owner, name):
        return None
    found = inspect.getattr_static(owner, name) if parents else getattr(owner, name)
    if isinstance(found, property):
        return ("r" if found.fget else "") + ("w" if found.fset else "")
    if (
        isinstance(found, type)
        or not callable(getattr(owner, name))
        or isinstance(getattr(owner, name), owner)
    ):
        return "value"
    return forms_in(getattr(owner, name).__doc__ or "", name)


def forms_in(doc: str, name: str) -> str:
    """The signatures in a docstring of pybind11, without self and without types."""
    lines = re.findall(rf"^(?:\d+\. )?{name}\((?!\*args, \*\*kwargs)(.*)\)(?: ->.*)?$", doc, re.MULTILINE)
    return " ".join(f"({', '.join(_parameters(line))})" for line in lines)


def result_in(doc: str) -> str | None:
    """The class that a method returns, by its docstring. None: none of the library."""
    found = re.search(r"^.*\) -> (?:\w+\.)+(\w+)$", doc, re.MULTILINE)
    return found[1] if found else None


def _parameters(line: str) -> list[str]:
    names, depth, start = [], 0, 0
    for place, letter in enumerate(f"{line},"):
        depth += (letter in "([{<") - (letter in ")]}") - (letter == ">" and line[place - 1] != "-")
        if letter == "," and depth == 0 and (one := line[start:place].strip()):
            names.append(one.partition(":")[0].strip() + ("=" if " = " in one else ""))
        if letter == "," and depth == 0:
            start = place + 1
    return [name for name in names if name not in ("self", "/", "*")]
