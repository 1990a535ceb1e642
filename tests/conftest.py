"""Fixtures shared by all tests: where things are."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
    from export.recipe import Request

    request = Request(preset="demo", weights="demo", output=tmp_path_factory.mktemp("engines"))
    with ConsoleReporter(Console(quiet=True)) as reporter:
        (built,) = build(request, reporter)
    return built.folder
