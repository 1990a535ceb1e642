"""ModelOpt runs in an environment of its own. An error says how to make one."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from export.quantizing import program
from export.quantizing.graph import require_as_selected
from odise_trt.errors import ExportError
from tests.export.quantizing import stand_in_modelopt as stand_in
from tests.export.quantizing import toy_graph


def job_in(folder: Path, precision: str = "int8") -> program.Job:
    graph = toy_graph.write(folder / "clip_pool.onnx")
    samples = [str(toy_graph.sample(folder / f"{seed}.npz", seed)) for seed in (1, 2)]
    return program.Job(str(graph), str(folder / "out.onnx"), precision, [toy_graph.INNER], samples, False)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_the_named_nodes_are_quantized_through_files(tmp_path: Path, precision: str) -> None:
    python = stand_in.make(tmp_path / "env")
    job = job_in(tmp_path, precision)
    program.run(python, job, tmp_path)
    require_as_selected(ir.load(job.graph).graph, ir.load(job.output).graph, [toy_graph.INNER])


def test_the_versions_are_those_of_the_other_environment(tmp_path: Path) -> None:
    found = program.find_versions(stand_in.make(tmp_path))
    assert found["nvidia-modelopt"] == "0.47.0"
    assert found["onnx-graphsurgeon"] == "0.6.1"
    assert found["onnx"] == onnx.__version__


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({}, "lacks nvidia-modelopt, onnx-graphsurgeon"),
        ({**stand_in.VERSIONS, "nvidia_modelopt": "0.33.1"}, "has nvidia-modelopt 0.33.1, it has to be 0.47"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(
    tmp_path: Path, versions: dict[str, str], message: str
) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        program.find_versions(stand_in.make(tmp_path, versions=versions))
    assert "python -m venv modelopt && modelopt/bin/pip install -r" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content", [None, *(f"#!/bin/sh\n{one}\n" for one in ("echo hello", "exit 3", "echo '[]'"))]
)
def test_what_is_no_python_is_refused(tmp_path: Path, content: str | None) -> None:
    python = tmp_path / "python"
    if content is not None:
        python.write_text(content)
        python.chmod(0o755)
    with pytest.raises(ExportError, match="--modelopt-python") as caught:
        program.find_versions(python)
    assert "requirements.txt" in str(caught.value.hint)


def test_the_requirements_that_the_hint_names_are_there() -> None:
    path = Path(program.how_to_install().rpartition("-r ")[2])
    assert "nvidia-modelopt==0.47" in path.read_text()


def test_the_end_of_its_log_is_shown_when_it_fails(tmp_path: Path) -> None:
    failing = "def quantize_in(*given, **options):\n    raise ValueError('no such operator: Resize')\n"
    with pytest.raises(
        ExportError, match=r"(?s)status 1 for clip_pool.onnx in int8.*no such operator: Resize"
    ):
        program.run(stand_in.make(tmp_path / "env", failing), job_in(tmp_path), tmp_path)


def test_a_run_without_a_graph_is_an_error(tmp_path: Path) -> None:
    python = stand_in.make(tmp_path / "env", "import sys\ndef quantize_in(*given, **options): sys.exit(0)")
    with pytest.raises(ExportError, match="wrote no graph"):
        program.run(python, job_in(tmp_path), tmp_path)


def test_packages_of_this_process_do_not_reach_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "PYTHONPATH" not in program._environment()
