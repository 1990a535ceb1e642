"""Every backend is declared once, and what reads the declarations asks no names."""

from __future__ import annotations

import ast
import importlib.metadata
from pathlib import Path

import pytest

from odise_trt.backends import BACKENDS, find_backend
from odise_trt.backends.registry import DEFAULT_BACKEND, resolve
from odise_trt.errors import BackendError

REGISTRY = "odise_trt/backends/registry.py"
#: Versions of packages. Some backends have the name of theirs.
KNOWN_FAULTS = "odise_trt/known_faults.py"
#: The package `onnxruntime` is the toolkit's too: parity runs on it, its version is written down, and it has
#: two distributions.
PACKAGE_ONNXRUNTIME = {
    "benchmarks/provenance.py",
    "export/plan.py",
    "export/quantizing/driver.py",
    "export/quantizing/program.py",
    "odise_trt/cli/extras.py",
    "odise_trt/package_versions.py",
    "reference/eval/evaluation.py",
}


@pytest.mark.parametrize("name", BACKENDS)
def test_what_a_declaration_names_is_there(name: str) -> None:
    entry = BACKENDS[name]
    assert entry.name == name
    extras = importlib.metadata.metadata("odise-trt").get_all("Provides-Extra") or []
    assert entry.extra is None or entry.extra in extras
    for place in (entry.opens, entry.builds, entry.ties, entry.profiles, entry.runs, entry.examines):
        assert place is None or callable(resolve(place))


def test_a_backend_that_nobody_declared_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(
        BackendError, match=r"'ncnn'\n.*onnxruntime, onnxruntime_cuda, openvino, tensorrt, tensorrt_rtx"
    ):
        find_backend("ncnn")
    assert DEFAULT_BACKEND in BACKENDS


def test_no_other_module_spells_the_name_of_a_backend(root: Path) -> None:
    spelt = {}
    for folder in ("odise_trt", "export", "reference", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            constants = {
                n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)
            }
            found = constants & set(BACKENDS)
            if name in (REGISTRY, KNOWN_FAULTS):
                continue
            if found and not (found == {"onnxruntime"} and name in PACKAGE_ONNXRUNTIME):
                spelt[name] = found
    assert spelt == {}


def test_backends_know_nothing_of_bundles_and_models(root: Path) -> None:
    allowed = {"errors", "arguments", "stage_spec"}
    own = {path.stem for path in (root / "odise_trt" / "backends").glob("*.py")}
    for path in (root / "odise_trt" / "backends").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not [
                    one.name for one in node.names if one.name.split(".")[0] in ("odise_trt", "export")
                ]
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [node.module] if node.module else [one.name for one in node.names]
                assert set(names) <= (allowed if node.level == 2 else own), (path, names)
