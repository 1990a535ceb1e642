"""Which lane a test belongs to: seen from what its module imports and which fixtures it uses.

`make test-fast` leaves out `export`, `golden` and `runs`; `make test` leaves out `slow`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import PurePosixPath
from types import CodeType, FunctionType, ModuleType

import pytest

#: What traces a model, writes an ONNX graph or builds an engine.
EXPORTS = {
    "export.build",
    "export.build.build",
    "export.builders.tensorrt.build_engine",
    "export.checked_export.export_checked",
    "export.fusing.fuse",
    "export.onnx_export.export_stage",
}
#: What reads the recorded outputs of the official code.
GOLDENS = {
    "tests.check_golden.check",
    "tests.check_golden.check_training",
    "tests.golden_case.GoldenCase",
    "tests.golden_case.load_golden_model",
    "tests.golden_training.TrainingCase",
    "tests.reference.golden_models.golden_case",
    "tests.reference.golden_models.golden_model",
    "tests.golden_case.golden_weights",
}
#: Modules of tests that train models, build engines with toys, or start other programs by the code they test.
#: A test that starts one itself is seen by its use of `subprocess`.
RUNS = {
    "test_adding_a_backend",
    "test_attacks",
    "test_benchmark_commands",
    "test_checkpoints",
    "test_contest",
    "test_doors",
    "test_endings",
    "test_gpu_benchmark",
    "test_gpu_parts",
    "test_torchvision_free",
    "test_train_command",
    "test_trainer",
    "test_training_loader",
    "test_wheel",
    "test_workers",
}
#: Seconds after which a test is ended: a hang, on machines many times slower than ours.
LIMIT, SLOW_LIMIT = 300, 1800

#: Modules that take longest, the longest first: at the end of a run, no process waits for another.
#: The first one builds the demo bundle; others that use it come when it is there.
LONGEST = (
    "test_end_to_end",
    "test_losses_goldens",
    "test_build",
    "test_goldens",
    "test_endings",
    "test_doors",
    "test_ablation_features",
    "test_trainer",
    "test_raw_features",
    "test_convert",
    "test_device_chain",
    "test_device_pictures",
    "test_demo_stages",
    "test_official_layouts",
    "test_model",
    "test_checkpoint",
    "test_batch",
    "test_losses_step",
    "test_predictors",
    "test_cli",
    "test_device_resize",
    "test_training_loader",
    "test_wheel",
    "test_train_command",
    "test_torchvision_free",
    "test_scenes",
    "test_manifest",
    "test_fusing",
    "test_onnx_export",
    "test_parity",
    "test_pipeline",
    "test_official",
    "test_refused_writes",
    "test_work",
    "test_workers",
    "test_benchmark_commands",
    "test_stage_key",
    "test_finite",
    "test_attacks",
)


def marks(item: pytest.Item) -> list[pytest.MarkDecorator]:
    """The marks that a test has without being given them."""
    found = [pytest.mark.timeout(SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT)]
    module = getattr(item, "module", None)
    used = uses(module.__name__) if module else frozenset()
    if used & EXPORTS or {"demo_bundle", "half_demo_bundle"} & set(getattr(item, "fixturenames", ())):
        found.append(pytest.mark.export)
    if used & GOLDENS:
        found.append(pytest.mark.golden)
    if item.path.stem in RUNS or starts_programs(getattr(item, "obj", None)):
        found.append(pytest.mark.runs)
    if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        found.append(pytest.mark.examples)
    return found


def place(nodeid: str) -> int:
    """When the module of a test is begun: the smaller, the earlier."""
    stem = PurePosixPath(nodeid.partition("::")[0]).stem
    return LONGEST.index(stem) if stem in LONGEST else len(LONGEST)


@cache
def uses(module: str) -> frozenset[str]:
    """What a test module has imported: full names of functions and classes, and of modules."""
    values = vars(sys.modules[module]).values()
    modules = {value.__name__ for value in values if isinstance(value, ModuleType)}
    things = {
        f"{value.__module__}.{value.__qualname__}"
        for value in values
        if callable(value) and hasattr(value, "__qualname__")
    }
    return frozenset(modules | things)


def starts_programs(test: Callable[..., object] | None) -> bool:
    """Whether a test uses `subprocess`, itself or in a function of its module."""
    waiting, seen = [inspect.unwrap(test)] if test else [], set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, FunctionType) or function in seen:
            continue
        seen.add(function)
        names = set(_names(function.__code__))
        if "subprocess" in names:
            return True
        called = (function.__globals__.get(name) for name in names)
        waiting += [one for one in called if getattr(one, "__module__", None) == function.__module__]
    return False


def _names(code: CodeType) -> Iterator[str]:
    """The names that code uses, with those of the functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
