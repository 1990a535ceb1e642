"""The script that compiles against sets of NVIDIA's headers, with a compiler that only looks at its words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "cpp" / "cmake" / "check_headers.py"
PAGE = "before\n<!-- headers: cpp/cmake/check_headers.py -->\nold\n<!-- end of headers -->\nafter\n"


@pytest.fixture
def headers(tmp_path: Path) -> Path:
    """Folders `cuda`, `trt` and `rtx`, a compiler that refuses RTX's file, and a page."""
    versions = ("MAJOR 11", "MINOR 2", "PATCH 3", "BUILD 4")
    for name, flavour in (("trt", "ENTERPRISE"), ("rtx", "RTX")):
        lines = [f"#define TRT_{one.split()[0]}_{flavour} {one.split()[1]}" for one in versions]
        (tmp_path / name / "include").mkdir(parents=True)
        (tmp_path / name / "include" / "NvInferVersion.h").write_text("\n".join(lines))
    (tmp_path / "cuda").mkdir()
    (tmp_path / "cuda" / "cuda_runtime_api.h").write_text("#define CUDART_VERSION  13020\n")
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\ncase "$*" in --version) echo "g++ 12.2.0";; *rtx.cpp*) exit 1;; esac\n')
    compiler.chmod(0o755)
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path


def check(headers: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--cuda", "cuda", "--compiler", str(headers / "compiler"), *words]
    return subprocess.run(command, cwd=headers, capture_output=True, text=True, check=False)


def test_what_compiles_is_written_into_the_page(headers: Path) -> None:
    done = check(headers, "--tensorrt", "trt", "--rtx", "rtx", "--write", "page.md")
    assert done.returncode == 1, done.stderr  # RTX's file does not compile.
    page = (headers / "page.md").read_text()
    assert page.startswith("before\n<!-- headers")
    assert page.endswith("<!-- end of headers -->\nafter\n")
    assert "| CUDA 13.2 | g++ 12.2 |  |  |" in page
    assert "| TensorRT 11.2.3.4 |  | g++ 12.2 |  |" in page
    assert "| TensorRT for RTX 11.2.3.4 |  |  | g++ 12.2 FAILS |" in page
    assert "old" not in page


def test_headers_of_another_product_are_named_as_such_or_refused(headers: Path) -> None:
    done = check(headers, "--tensorrt", "trt")
    assert "g++ 12.2 FAILS (another product's headers)" in done.stdout
    assert "defines no version" in check(headers, "--rtx", "trt").stderr
    assert "has no include/NvInferVersion.h" in check(headers, "--tensorrt", "cuda").stderr
