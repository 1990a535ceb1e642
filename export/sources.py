"""The code that decides the content of a bundle. Only a change in this code makes bundles stale."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from .stages import stage_names

_ROOT = Path(__file__).resolve().parent.parent
_STAGES = "export/stages"

#: Files that decide a graph, its parity, or another file of a bundle.
_DECIDES = (
    "export/**/*.py",
    "odise_trt/backends/fixed_sizes.py",
    "odise_trt/backends/openvino.py",
    "odise_trt/chains/vectors.py",
    "odise_trt/interpolate.py",
    "odise_trt/pipeline/*.py",
    "odise_trt/resampling.py",
    "odise_trt/stage_spec.py",
    "odise_trt/bundle/manifest.py",
    "odise_trt/features/names.py",
    "odise_trt/vocabulary/*.py",
    "odise_trt/windows.py",
    "odise_trt/vocabularies/*",
    "reference/model/**/*.py",
    "reference/weights/**/*.py",
    "reference/ablation.py",
    "reference/checkpoint.py",
    "reference/noise_schedule.py",
    "reference/on_demand.py",
    "reference/preset.py",
)
#: Files among them that decide only whether and how a build runs: options, the console, locks, worker
#: processes. Every other file in `export` counts, so that a new module is never omitted by mistake.
_DECIDES_NOTHING = frozenset(
    f"export/{name}.py"
    for name in (
        "build_engines",
        "check_cli",
        "cli",
        "console",
        "cost_model",
        "debugging/__init__",
        "debugging/cli",
        "debugging/nodes",
        "debugging/precision",
        "debugging/sources",
        "debugging/widening",
        "disk_space",
        "dry_run",
        "exclusive",
        "finish",
        "finish_cli",
        "fit",
        "forecast",
        "gpu_targets",
        "measure",
        "completion",
        "json_lines",
        "options",
        "quantizing/cost",
        "quantizing/page",
        "recheck",
        "reporter",
        "stage_work",
        "stopping",
        "verdict",
        "workers",
    )
)


def sources(root: Path = _ROOT) -> Iterator[str]:
    """Yield the paths of the files that count, relative to the checkout."""
    for pattern in _DECIDES:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            if path.is_file() and name not in _DECIDES_NOTHING:
                yield name


def source_digest(root: Path = _ROOT, stage: str | None = None) -> str:
    """Return the SHA-256 of the files that count, with their names.

    Args:
        root: the checkout.
        stage: only what counts for this stage. The modules of other stages count if it imports them.
    """
    others = set() if stage is None else _modules(stage_names()) - _reached(f"{_STAGES}/{stage}.py", root)
    digest = hashlib.sha256()
    for name in sources(root):
        if name not in others:
            digest.update(f"{name}\0".encode() + (root / name).read_bytes() + b"\0")
    return digest.hexdigest()


def builder_digest(root: Path = _ROOT) -> str:
    """Return the SHA-256 of the files that make engines from graphs."""
    digest = hashlib.sha256()
    for path in sorted((root / "export" / "builders").glob("*.py")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _modules(stages: tuple[str, ...]) -> set[str]:
    return {f"{_STAGES}/{name}.py" for name in stages}


def _reached(module: str, root: Path) -> set[str]:
    """Return a module of a stage, and those beside it that it imports, directly or through others."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in found or not (root / name).is_file():
            continue
        found.add(name)
        for node in ast.walk(ast.parse((root / name).read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                beside = [node.module] if node.module else [alias.name for alias in node.names]
                waiting += [f"{_STAGES}/{one}.py" for one in beside]
    return found
