"""The code of a documentation page, put where the page says, for tests that run it.

A fenced block that starts with ```python file=PACKAGE/MODULE.py is a whole file. One that starts with
```text line=PACKAGE/MODULE.py is a line for a table of that module.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(?:python|text) (file|line)=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """A page of `docs`.

    Attributes:
        files: path -> content.
        lines: path -> the line to add to that module.
        examples: the other blocks of Python, in order.
    """

    def __init__(self, name: str) -> None:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        found = _BLOCK.findall(text)
        self.files = {path: code for kind, path, code in found if kind == "file"}
        self.lines = {path: code for kind, path, code in found if kind == "line"}
        self.examples = _PLAIN.findall(text)

    def install(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the page's files importable where they belong, without touching the checkout.

        Args:
            place: an empty folder to write them to.
        """
        for path, code in self.files.items():
            assert not (ROOT / path).exists(), f"{path} is a module already"
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
            name = ".".join(Path(path).parent.parts)
            package = importlib.import_module(name)
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
            monkeypatch.delitem(sys.modules, f"{name}.{file.stem}", raising=False)

    def with_line(self, path: str, after: str) -> ModuleType:
        """A second copy of a module that has the page's line.

        Args:
            path: of the module.
            after: the line to add it after; the page's line is indented as it is.
        """
        source = (ROOT / path).read_text(encoding="utf-8")
        assert source.count(f"{after}\n") == 1
        indent = after[: len(after) - len(after.lstrip())]
        (line,) = self.lines[path].splitlines()
        changed = source.replace(f"{after}\n", f"{after}\n{indent}{line.strip()}\n")
        name = ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__")
        original = importlib.import_module(name)
        module = ModuleType(name)
        module.__dict__.update(
            (fact, value)
            for fact, value in vars(original).items()
            if fact in ("__package__", "__path__", "__file__")
        )
        # Dataclasses look their module up by its name.
        sys.modules[name] = module
        try:
            exec(compile(changed, path, "exec"), module.__dict__)
        finally:
            sys.modules[name] = original
        return module
