"""Too little memory is said as such, whichever library noticed it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export import checked_export
from export.checked_export import Task, export_checked
from export.plan import Request
from odise_trt.errors import ExportError
from reference.checkpoint import load_weights


def by_python() -> None:
    raise MemoryError


def by_torch() -> None:
    torch.empty(2**60, dtype=torch.uint8)


def by_onnxruntime() -> None:
    raise RuntimeError(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : ... Failed to allocate memory for requested buffer"
    )


def by_the_converter() -> None:
    try:
        raise MemoryError
    except MemoryError as error:
        raise ExportError("stage clip_pool cannot be converted to ONNX: Failed to decompose") from error


@pytest.mark.parametrize("fails", [by_python, by_torch, by_onnxruntime, by_the_converter])
def test_too_little_memory_is_one_error_with_a_way_out(fails, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checked_export, "export_stage", lambda *stage, **options: fails())
    request = Request("demo", "random:7", output=tmp_path)
    with pytest.raises(ExportError, match="not enough memory to export and check stage clip_pool") as caught:
        export_checked(load_weights("demo", "random:7"), Task("clip_pool", "fp32"), request, tmp_path)
    assert "--jobs 1 and --parity-windows 1" in str(caught.value.hint)


def test_another_error_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*stage: object, **options: object) -> None:
        raise ExportError("it has another reason")

    monkeypatch.setattr(checked_export, "export_stage", fail)
    request = Request("demo", "random:7", output=tmp_path)
    with pytest.raises(ExportError, match="another reason"):
        export_checked(load_weights("demo", "random:7"), Task("clip_pool", "fp32"), request, tmp_path)
