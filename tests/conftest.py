"""Fixtures shared by all tests: where things are."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if _WORKER and hasattr(os, "sched_setaffinity"):
    # Workers share the processors among them: thread pools of two that spin on the same cores take many
    # times as long. Set before torch is imported, and inherited by the processes that tests start.
    _all = sorted(os.sched_getaffinity(0))
    _workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.sched_setaffinity(0, _all[int(_WORKER.removeprefix("gw")) :: _workers] or _all)


@cache
def _modules_of_the_demo_bundle() -> frozenset[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(
        file.relative_to(ROOT).as_posix() for file in files if "demo_bundle" in file.read_text("utf-8")
    )


def _group(nodeid: str) -> str:
    """Tests of a module stay in one process, and so do all that use the demo bundle: it is built once."""
    module = nodeid.partition("::")[0]
    return "demo_bundle" if module in _modules_of_the_demo_bundle() else module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest group begins first, or the others wait for it at the end."""
    items.sort(key=lambda item: _group(item.nodeid) != "demo_bundle")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes take groups of tests one after the other."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False  # the order is that of the collection
    return Groups(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Development data beside the checkout; the product does not need it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the development data folder ../shared is not on this machine")
    return folder


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Outputs of the official code at reduced widths, shipped with the tests."""
    return ROOT / "tests" / "goldens"


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo preset for ONNX Runtime in fp32, built once per run of the tests."""
    from rich.console import Console

    from export.build import build
    from export.console import ConsoleReporter
    from export.plan import Request

    request = Request(preset="demo", weights="demo", output=tmp_path_factory.mktemp("engines"))
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (built,) = build(request, reporter)
    return built.folder
