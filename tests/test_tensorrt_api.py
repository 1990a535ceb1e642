"""Every call of TensorRT in our code is one that its versions have.

No version of TensorRT is needed: `tensorrt_api.json` records what each has. TensorRT for RTX, whose module
loads without a GPU, is asked itself.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from odise_trt.backends import tensorrt_engine
from tests.api_uses import Use, attributes_of, form_in, forms_in, misfit, result_in, results_of, uses_of

ROOT = Path(__file__).resolve().parents[1]
TABLE: dict[str, Any] = json.loads((ROOT / "tests" / "tensorrt_api.json").read_text(encoding="utf-8"))
VERSIONS = tuple(TABLE["versions"])
#: File -> expression in it -> class of TensorRT. "": the module.
OBJECTS = {
    "odise_trt/backends/tensorrt.py": {
        "module": "",
        "flavour": "",
        "trt": "",
        "self._runtime": "Runtime",
        "engine": "ICudaEngine",
    },
    "odise_trt/backends/tensorrt_engine.py": {
        "trt": "",
        "self._trt": "",
        "self._opened()": "ICudaEngine",
        "engine": "ICudaEngine",
        "one.context": "IExecutionContext",
        "context": "IExecutionContext",
        "inspector": "EngineInspector",
    },
    "odise_trt/backends/tensorrt_refit.py": {
        "trt": "",
        "module": "",
        "engine": "ICudaEngine",
        "refitter": "Refitter",
        "parser": "OnnxParserRefitter",
    },
    "export/builders/compatibility.py": {"flavour": "", "trt": "", "config": "IBuilderConfig"},
    "export/builders/stripping.py": {"flavour": "", "trt": "", "config": "IBuilderConfig"},
    "export/builders/tensorrt.py": {
        "flavour": "",
        "trt": "",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "_problem: error": "ParserError",
        "_describe: tensor": "ITensor",
    },
    "benchmarks/layers/tensorrt.py": {"flavour": ""},
    "benchmarks/gpu/engine_runs.py": {
        "flavour": "",
        "runtime": "Runtime",
        "engine": "ICudaEngine",
        "context": "IExecutionContext",
        "config": "IRuntimeConfig",
    },
}
#: What only TensorRT for RTX has. The code asks for it first.
RTX_ONLY = {
    "ComputeCapability",
    "DynamicShapesKernelSpecializationStrategy",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "IExecutionContext.is_stream_capturable",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy",
}
#: What versions before 11 have, and no code of ours may use. It is recorded so that a test can prove it.
GONE = {
    "Builder.platform_has_fast_fp16",
    "BuilderFlag.FP16",
    "IBuilderConfig.int8_calibrator",
    "ICudaEngine.create_execution_context_without_device_memory",
    "ICudaEngine.device_memory_size",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
}
#: What every module and every enumeration of Python has.
PYTHONS = {"__name__", "__version__", "__members__"}


@cache
def uses() -> list[Use]:
    found = [use for file, objects in OBJECTS.items() for use in uses_of(ROOT / file, ROOT, objects)]
    return [use for use in found if use.member.rpartition(".")[2] not in PYTHONS]


def recorded(member: str, version: str) -> str | None:
    """What a version has under a name."""
    found = TABLE["members"][member]
    if isinstance(found, dict):
        (found,) = (form for versions, form in found.items() if version in versions.split())
    return found


def called(use: Use) -> str:
    """The member whose signature counts: a class is called by its constructor."""
    return f"{use.member}.__init__" if use.kind == "call" and "." not in use.member else use.member


@pytest.mark.parametrize("version", VERSIONS)
def test_every_call_fits_the_version(version: str) -> None:
    unfit = [
        f"{use.place}: {use.member}: {why}"
        for use in uses()
        if use.member not in RTX_ONLY and (why := misfit(use, recorded(called(use), version)))
    ]
    assert not unfit


def test_every_call_fits_tensorrt_for_rtx() -> None:
    module = pytest.importorskip("tensorrt_rtx")
    unfit = [
        f"{use.place}: {use.member}: {why}"
        for use in uses()
        if (why := misfit(use, form_in(module, called(use))))
    ]
    assert not unfit
    assert all(form_in(module, member) is not None for member in RTX_ONLY)


def test_the_table_has_what_is_used_and_no_more() -> None:
    used = {called(use) for use in uses()} | {use.member for use in uses()}
    dtypes = {f"DataType.{name}" for name in tensorrt_engine._TYPES}
    assert set(TABLE["members"]) == used | GONE | dtypes
    for member in TABLE["members"]:
        known = [recorded(member, version) for version in VERSIONS]
        assert (set(known) == {None}) == (member in RTX_ONLY), member


@pytest.mark.parametrize("version", VERSIONS)
def test_engines_have_tensors_of_types_that_the_version_has(version: str) -> None:
    assert all(recorded(f"DataType.{name}", version) == "value" for name in tensorrt_engine._TYPES)


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_that_are_looked_up_first_have_the_form_they_are_called_with(version: str) -> None:
    assert recorded("IExecutionContext.update_device_memory_size_for_shapes", version) == "()"


@pytest.mark.parametrize("member", sorted(GONE))
def test_what_version_11_took_away_is_found(member: str) -> None:
    use = Use("somewhere", member, "get")
    assert misfit(use, recorded(member, "11.0")) == "it does not exist"
    assert recorded(member, "10.16") is not None
    assert all(one.member != member for one in uses())


@pytest.mark.parametrize(
    ("use", "form", "why"),
    [
        (Use("", "C.m", "call", 2), "(a, b=)", None),
        (Use("", "C.m", "call", 1), "(a, b=)", None),
        (Use("", "C.m", "call", 1, ("b",)), "(a, b=)", None),
        (Use("", "C.m", "call", 0, ("b",)), "(a, b=)", "its form is (a, b=)"),
        (Use("", "C.m", "call", 1, ("a",)), "(a, b=)", "its form is (a, b=)"),
        (Use("", "C.m", "call", 3), "(a, b=) (a, b, c)", None),
        (Use("", "C.m", "call", 3), "(a, b=)", "its form is (a, b=)"),
        (Use("", "C.m", "call"), "r", "it is no method"),
        (Use("", "C.m", "get"), "()", "it is a method"),
        (Use("", "C.m", "get", is_optional=True), "()", None),
        (Use("", "C.m", "get", is_optional=True), None, None),
        (Use("", "C.m", "set"), "r", "it can only be used as r"),
        (Use("", "C.m", "set"), "rw", None),
        (Use("", "C.m", "get"), "w", "it can only be used as w"),
        (Use("", "C.m", "override", 2), "(a, b)", None),
        (Use("", "C.m", "override", 1), "(a, b)", "its form is (a, b)"),
    ],
)
def test_a_call_that_does_not_fit_is_found(use: Use, form: str | None, why: str | None) -> None:
    assert misfit(use, form) == why


def test_signatures_are_read_from_docstrings() -> None:
    doc = """f(*args, **kwargs)
Overloaded function.

1. f(self: m.C, a: m.S = <S.X: 0>, b: dict[str, int]) -> m.R


    A text, with f(a) in it.


2. f(self: m.C, *, a: typing.Callable[[int], None] = None) -> m.R
"""
    assert forms_in(doc, "f") == "(a=, b) (a=)"
    assert result_in(doc) == "R"
    assert result_in("f(self: m.C) -> bool\n") is None


def test_what_calls_return_is_followed() -> None:
    """A new variable that holds something of TensorRT must stand in `OBJECTS`, so that its uses are seen."""
    module = pytest.importorskip("tensorrt_rtx")
    plain = {"DataType", "IHostMemory", "TensorIOMode", "Dims"}
    for file, objects in OBJECTS.items():
        for target, member in results_of(ROOT / file, objects):
            parent, _, name = member.rpartition(".")
            found = result_in(getattr(getattr(module, parent), name).__doc__ or "") if parent else name
            if found is not None and found not in plain:
                assert objects.get(target) == found, f"{file}: {target} is of {found}"


def test_no_name_of_tensorrt_is_used_on_anything_unknown() -> None:
    # Names that our own objects have, too.
    common = {"name", "shape", "dtype", "log", "profiler", "num_io_tensors", "__init__"}
    names = {member.rpartition(".")[2] for member in TABLE["members"] if "." in member} - common
    for file, objects in OBJECTS.items():
        known = {key.rpartition(": ")[2] for key in objects}
        for owner, name in attributes_of(ROOT / file):
            if name in names:
                assert owner in known or owner.rpartition(".")[0] in known, f"{file}: {owner}.{name}"


def test_no_other_file_uses_tensorrt() -> None:
    others = []
    for package in ("odise_trt", "export", "benchmarks", "reference"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if not re.search(r"\b(flavour|trt|(import|from) tensorrt)", text):
                continue
            tree = ast.parse(text)
            imported = [
                alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
            ]
            named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            if "flavour" in named or "trt" in named or {"tensorrt", "tensorrt_rtx"} & set(imported):
                others.append(str(path.relative_to(ROOT)))
    assert set(others) <= set(OBJECTS)
