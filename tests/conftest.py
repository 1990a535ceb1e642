"""What all tests share: places, the demo bundle, and how tests are sorted into lanes and processes."""

from __future__ import annotations

import gc
import os
import signal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests import lanes

ROOT = Path(__file__).resolve().parent.parent

# Imports and rewritten asserts make millions of objects that stay. Looking for garbage among them, again and
# again, takes a third of the time of the collection. It is looked for again when all tests are known.
gc.disable()

if _workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Each process has processors of its own: thread pools of two that spin on the same cores take many times
    # as long. Set before torch is imported, and inherited by the processes that tests start.
    _own = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    _all = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, _all[_own::_workers] or _all)

# A shell that starts a command in the background lets it ignore Ctrl-C, and `nohup` the end of the terminal.
# The processes that tests start would inherit that, and miss the signals they are tested with. A handler is
# not inherited, and pytest ignores the signal as before.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# The same examples in every run, so that a test that passed passes again. The long lane tries many new ones.
settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=300, deadline=None, print_blob=True)
settings.load_profile("default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its lane, and begin with what takes longest."""
    for item in items:
        for mark in lanes.marks(item):
            item.add_marker(mark)
    items.sort(key=lambda item: lanes.place(item.nodeid))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what is imported: exports make it look at everything."""
    gc.collect()
    gc.freeze()
    # Exports make hundreds of thousands of objects, of which most stay until the end. A sixteenth less time.
    gc.set_threshold(20_000, 10, 10)
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_looked_for_among_new_objects() -> None:
    """A test that asks for a collection does not look at what earlier modules left: half a second less."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes take the modules one after the other, in the order of the collection."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Outputs of the official code at reduced widths, shipped with the tests."""
    return ROOT / "tests" / "goldens"


@pytest.fixture(scope="session")
def demo_bundle(pytestconfig: pytest.Config) -> Path:
    """The demo preset for ONNX Runtime in fp32.

    The one that `make demo` built is taken if a build would give the same. Otherwise it is built once for all
    processes, and again only if something that decides its content has changed since the last run.
    `pytest --cache-clear` removes it. Tests must not write to it.
    """
    return _demo(pytestconfig, "fp32")


@pytest.fixture(scope="session")
def half_demo_bundle(pytestconfig: pytest.Config) -> Path:
    """The same in fp16, for slow tests only: building it takes minutes."""
    return _demo(pytestconfig, "fp16")


def _demo(pytestconfig: pytest.Config, precision: str) -> Path:
    from rich.console import Console
    from torch.onnx._internal._lazy_import import onnxscript_apis

    from export.build import build
    from export.console import ConsoleReporter
    from export.plan import Request, plan, up_to_date
    from reference.checkpoint import describe_weights
    from reference.preset import DEMO

    assert pytestconfig.cache is not None
    of_the_demo = Request(preset="demo", weights="demo", output=ROOT / "engines")
    (target,) = plan(of_the_demo)
    if up_to_date(target, of_the_demo, describe_weights(DEMO, "demo")):
        return target.folder
    # Of two processes that build it, the second waits for the first and finds it up to date.
    request = Request(
        preset="demo", weights="demo", precision=precision, output=pytestconfig.cache.mkdir("engines")
    )
    with pytest.MonkeyPatch.context() as patch, ConsoleReporter(Console(quiet=True)) as reporter:
        # As in tests/export/conftest.py: a third of a second less for each stage.
        patch.setattr(onnxscript_apis, "get_torchlib_ops", cache(onnxscript_apis.get_torchlib_ops))
        (built,) = build(request, reporter)
    return built.folder
