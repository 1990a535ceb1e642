"""A bundle becomes stale when the code that decides what it holds changes, and only then."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.sources import source_digest, sources

#: What stages and weights may import and bundles do not depend on: errors, devices, the runtime's files and
#: messages, and the picture on the page of comparisons.
DECIDES_NOTHING = (
    "export/",
    "odise_trt/",
    "reference/__init__.py",
    "reference/alone.py",
    "reference/errors.py",
    "reference/device.py",
    "reference/inference.py",
    "reference/names.py",
    "reference/scenes/",
    "reference/torchvision_free.py",
)


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, without the weights."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("export", "odise_trt", "reference", "benchmarks", "docs"):
        shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("*.safetensors", "*.pyc"))
    return copy


def after_a_change(checkout: Path, name: str) -> bool:
    """Whether the digest is another one when a line is added to a file, which is then as before."""
    path = checkout / name
    before, content = source_digest(checkout), path.read_bytes() if path.exists() else None
    path.write_bytes((content or b"") + b"\n# changed\n")
    changed = source_digest(checkout) != before
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert source_digest(checkout) == before
    return changed


@pytest.mark.parametrize(
    "name",
    [
        "reference/eval/scores.py",
        "reference/foreign/archive.py",
        "reference/training/trainer.py",
        "reference/datasets/verify.py",
        "reference/scenes/scene.py",
        "reference/demo/fit.py",
        "reference/losses/matcher.py",
        "reference/download/artefacts.py",
        "reference/oracle/trace.py",
        "reference/train.py",
        "reference/inference.py",
        "reference/features/maps.py",
        "reference/a_new_module.py",
        "odise_trt/segmenter.py",
        "odise_trt/backends/onnxruntime.py",
        "benchmarks/stages.py",
        "docs/backends.md",
        "export/cli.py",
        "export/console.py",
        "export/options.py",
        "export/workers.py",
    ],
)
def test_what_decides_no_graph_makes_no_bundle_stale(name: str, checkout: Path) -> None:
    assert not after_a_change(checkout, name)


@pytest.mark.parametrize(
    "name",
    [
        "reference/model/odise.py",
        "reference/model/ablations/time_steps.py",
        "reference/weights/random.py",
        "reference/preset.py",
        "reference/ablation.py",
        "reference/noise_schedule.py",
        "reference/on_demand.py",
        "reference/checkpoint.py",
        "export/onnx_export.py",
        "export/stages/captioner.py",
        "export/builders/tensorrt.py",
        "export/a_new_module.py",
        "reference/model/a_new_module.py",
        "odise_trt/backends/fixed_sizes.py",
        "odise_trt/backends/openvino.py",
        "odise_trt/chains/vectors.py",
        "odise_trt/pipeline/step.py",
        "odise_trt/stage_spec.py",
        "odise_trt/windows.py",
        "odise_trt/features/names.py",
        "odise_trt/bundle/manifest.py",
        "odise_trt/vocabularies/coco.txt",
    ],
)
def test_what_decides_a_graph_makes_bundles_stale(name: str, checkout: Path) -> None:
    assert after_a_change(checkout, name)


def stages_that_change(checkout: Path, name: str) -> set[str]:
    """The stages among a few whose digest is another one when a line is added to a file."""
    stages = ("cut", "features", "raw_features", "mask_head", "text_encoder")
    path = checkout / name
    content, before = path.read_bytes(), {stage: source_digest(checkout, stage) for stage in stages}
    path.write_bytes(content + b"\n# changed\n")
    changed = {stage for stage in stages if source_digest(checkout, stage) != before[stage]}
    path.write_bytes(content)
    return changed


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("export/stages/cut.py", {"cut"}),
        ("export/stages/features.py", {"features", "raw_features", "mask_head"}),
        ("export/stages/chain_stage.py", {"cut", "features", "raw_features", "mask_head", "text_encoder"}),
        ("export/onnx_export.py", {"cut", "features", "raw_features", "mask_head", "text_encoder"}),
        ("reference/model/odise.py", {"cut", "features", "raw_features", "mask_head", "text_encoder"}),
        ("export/console.py", set()),
    ],
)
def test_a_change_in_one_stage_makes_only_those_stale_that_read_its_code(
    name: str, changed: set[str], checkout: Path
) -> None:
    assert stages_that_change(checkout, name) == changed


def imported(path: Path, root: Path) -> Iterator[Path]:
    """The modules of the toolkit that a module imports when it runs, as files."""
    package = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        for name in names:
            place = root.joinpath(*name.split("."))
            yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def test_whatever_a_stage_is_made_of_counts(root: Path) -> None:
    known = set(sources(root))
    # All that counts in `export`: from there, every import is followed.
    waiting = [root / name for name in known if name.startswith("export/")]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        name = path.relative_to(root).as_posix()
        if name.startswith(("export/", "reference/")):
            waiting += imported(path, root)
    reached = {path.relative_to(root).as_posix() for path in seen}
    assert "reference/model/deformable_attention.py" in reached
    assert sorted(n for n in reached if n not in known and not n.startswith(DECIDES_NOTHING)) == []
