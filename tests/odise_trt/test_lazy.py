"""Packages whose names are loaded when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import odise_trt
import reference.datasets
import reference.eval
import reference.scenes

PACKAGES = [odise_trt, reference.datasets, reference.eval, reference.scenes]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_name_a_package_offers_is_there_and_another_is_a_plain_error(package) -> None:
    assert dir(package) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Segmentor'"):
        package.Segmentor  # noqa: B018


def test_importing_these_packages_imports_nothing_heavy() -> None:
    names = ", ".join(package.__name__ for package in PACKAGES)
    code = f"import sys, {names}; print({{'torch', 'numpy', 'PIL', 'onnxruntime'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
