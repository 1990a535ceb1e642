"""Compiles what needs NVIDIA's headers against each set of headers that a developer has.

    python cpp/cmake/check_headers.py --cuda /usr/local/cuda --write docs/cpp.md \\
        --tensorrt TensorRT-10.13 TensorRT-11.1 --rtx TensorRT-RTX-1.5

A folder has `include/NvInferRuntime.h` and `include/NvOnnxParser.h`. Headers of TensorRT are those of the SDK
or of NVIDIA/TensorRT on GitHub, one folder per branch. Branches before 10.14 have `NvOnnxParser.h` in the
submodule `parsers/onnx`: copy it. With no folder for `--rtx`, the file for TensorRT for RTX is compiled with
TensorRT's headers: both declare what it uses, but that is no proof. The table is printed, and with `--write`
put into a page.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from odise_trt.files.writing import write_file

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "CUDA": "cpp/src/device/cuda.cpp",
    "TensorRT": "cpp/src/engines/tensorrt.cpp",
    "RTX": "cpp/src/engines/tensorrt_rtx.cpp",
}
BEGIN, END = "<!-- headers: cpp/cmake/check_headers.py -->", "<!-- end of headers -->"


@dataclass(frozen=True)
class Headers:
    """A set of headers.

    Attributes:
        name: the product and its version.
        include: its folder.
        files: what is compiled with them, and whether they are those of the file's own product.
    """

    name: str
    include: Path
    files: dict[str, bool]


def version_of(file: Path, pattern: str, parts: tuple[str, ...]) -> str:
    """Return the version that a header defines."""
    content = file.read_text()
    found = [re.search(pattern.format(part), content) for part in parts]
    if not all(found):
        raise SystemExit(f"{file} defines no version as {pattern.format(parts[0])}")
    return ".".join(match[1] for match in found if match)


def cuda_version(include: Path) -> str:
    """Return "13.0"."""
    number = int(version_of(include / "cuda_runtime_api.h", r"define {} +([0-9]+)", ("CUDART_VERSION",)))
    return f"{number // 1000}.{number % 1000 // 10}"


def headers_of(folder: Path, flavour: str, name: str, files: dict[str, bool]) -> Headers:
    """Return the headers in a folder. `flavour`: of the names of their version."""
    include = folder / "include" if (folder / "include").is_dir() else folder
    version = include / "NvInferVersion.h"
    if not version.is_file():
        raise SystemExit(f"{folder} has no include/NvInferVersion.h")
    parts = ("MAJOR", "MINOR", "PATCH", "BUILD")
    return Headers(
        f"{name} {version_of(version, f'define TRT_{{}}_{flavour} +([0-9]+)', parts)}", include, files
    )


def flags() -> list[str]:
    """Return the compiler's flags as CMake has them: the same warnings, all of them errors."""
    text = (ROOT / "cpp/CMakeLists.txt").read_text()
    block = text.split("target_compile_options(odise_warnings INTERFACE", 1)[1].split("$<", 1)[0]
    return ["-std=c++17", "-Werror", *re.findall(r"-W[a-z-]+", block)]


def compiles(compiler: str, file: str, includes: list[Path]) -> str | None:
    """Return what the compiler complains of. None: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        own = ["-I", str(ROOT / "cpp/include"), "-I", str(ROOT / "cpp/src")]
        theirs = [word for include in includes for word in ("-isystem", str(include))]
        words = [
            compiler,
            *flags(),
            *own,
            *theirs,
            "-c",
            str(ROOT / file),
            "-o",
            str(Path(folder) / "file.o"),
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr


def compiler_name(compiler: str) -> str:
    """Return "g++ 12.2"."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    version = re.search(r"(\d+\.\d+)\.\d+", done.stdout)
    return f"{'clang' if 'clang' in done.stdout else 'g++'} {version[1] if version else '?'}"


def main() -> int:
    """Compile everything, and return 1 if something does not compile."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cuda",
        type=Path,
        nargs="+",
        required=True,
        help="folders with include/cuda_runtime_api.h; the first one is also that of TensorRT",
    )
    parser.add_argument("--tensorrt", type=Path, nargs="*", default=[])
    parser.add_argument("--rtx", type=Path, nargs="*", default=[])
    parser.add_argument("--compiler", nargs="*", default=["g++", "clang++"])
    parser.add_argument("--write", type=Path, help="the page whose table is replaced")
    given = parser.parse_args()
    cudas = [one / "include" if (one / "include").is_dir() else one for one in given.cuda]
    sets = [Headers(f"CUDA {cuda_version(one)}", one, {"CUDA": True}) for one in cudas]
    also_rtx = {} if given.rtx else {"RTX": False}
    sets += [
        headers_of(one, "ENTERPRISE", "TensorRT", {"TensorRT": True, **also_rtx}) for one in given.tensorrt
    ]
    sets += [headers_of(one, "RTX", "TensorRT for RTX", {"RTX": True}) for one in given.rtx]
    compilers = {compiler_name(one): one for one in given.compiler if shutil.which(one)}
    lines = [f"| headers | {' | '.join(Path(file).name for file in FILES.values())} |", "| --- " * 4 + "|"]
    failed = False
    for one in sets:
        cells = []
        for kind, file in FILES.items():
            if kind not in one.files:
                cells.append("")
                continue
            bad = {name: compiles(path, file, [one.include, cudas[0]]) for name, path in compilers.items()}
            for name, words in bad.items():
                if words is not None:
                    failed = True
                    sys.stderr.write(f"{one.name}, {file}, {name}:\n{words}\n")
            good = ", ".join(name if words is None else f"{name} FAILS" for name, words in bad.items())
            cells.append(good if one.files[kind] else f"{good} (another product's headers)")
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    sys.stdout.write(f"{table}\n")
    if given.write:
        page = given.write.read_text()
        before, _, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise SystemExit(f"{given.write} has no place for the table: {BEGIN} and {END}")
        write_file(given.write, f"{before}{BEGIN}\n{table}\n{END}{after}".encode())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
