"""Options that mean nothing are refused before any work, each with what there is instead."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from export.cli import build
from export.onnx_export import MAXIMUM_OPSET, MINIMUM_OPSET, require_opset
from export.stages import all_stages
from odise_trt.bundle.manifest import MANIFEST
from odise_trt.errors import ExportError, OdiseError
from reference.names import require_known
from reference.preset import PRESETS

REFUSED = {
    "--weights ''": "an empty value was given for --weights",
    "--preset ''": "an empty value was given for --preset",
    "--output ''": "an empty value was given for --output",
    "--stage ''": "an empty value was given for --stage",
    "--stage clip_pool --stage ' '": "an empty value was given for --stage",
    "--preset odise_label": "did you mean odise-label? presets: odise-label",
    "--preset ODISE-Caption": "did you mean odise-caption?",
    "--preset demo_caption": "did you mean demo-caption?",
    "--preset imagenet": "there is no preset 'imagenet'\n  presets: odise-label",
    "--stage clip-pool": "did you mean clip_pool?",
    "--stage mask_heads": "did you mean mask_head?",
    "--stage clip_pool --stage feature": "did you mean features?",
    "--stage clip_pool,features": "write --stage clip_pool --stage features",
    "--stage 'mask_head features'": "write --stage mask_head --stage features",
    "--weights https://example.com/odise.safetensors": "is an address, not a file\n  download the file",
    "--opset 17": "opset 17 is too old\n  use 18 to 25",
    "--opset 26": "opset 26 is too new\n  use 18 to 25",
    "--opset -1": "opset -1 is too old",
    "--compute-capability 8.9": "--compute-capability does nothing for onnxruntime",
    "--parity-windows 11": "--parity-windows 11 is out of range: the stages take 1 to 10 windows",
    "--parity-windows 2 --stage clip_pool": "--parity-windows does nothing for clip_pool",
    "--parity-windows 2 --stage text_encoder --stage mask_head": "does nothing for mask_head, text_encoder",
    "--onnx-only": "--onnx-only does nothing for onnxruntime: its bundles have graphs only",
    "--onnx-only --backend tensorrt --compute-capability 8.9": "--compute-capability to odise-trt finish",
    "--onnx-only --backend tensorrt_rtx --target sm89": "builds no engines, for no --target",
    "--strip-weights": "--strip-weights does nothing for onnxruntime: its bundles have graphs only",
    "--strip-weights --backend onnxruntime --backend openvino": "does nothing for onnxruntime, openvino",
    "--strip-weights --onnx-only --backend tensorrt": "give --strip-weights to odise-trt finish",
    "--version-compatible": "--version-compatible does nothing for onnxruntime: its bundles have graphs only",
    "--hardware-compatible --onnx-only --backend tensorrt": "give --hardware-compatible to odise-trt finish",
    "--version-compatible --hardware-compatible --backend tensorrt --backend tensorrt_rtx --target sm89": (
        "tensorrt_rtx has no --version-compatible and --hardware-compatible"
    ),
    "--hardware-compatible --backend tensorrt_rtx": "--target names the GPUs to build for",
    "--version-compatible --strip-weights --backend tensorrt": "leave --strip-weights or",
    "--target sm89": "--target does nothing for onnxruntime\n  add --backend tensorrt_rtx",
    "--target sm89 --backend tensorrt": "--target does nothing for tensorrt\n  add --backend tensorrt_rtx",
    "--target sm89 --compute-capability 8.9 --backend tensorrt_rtx": "give one of them",
    "--target sm89,ada --backend tensorrt_rtx": "--target 'ada' is not the name of a GPU architecture",
    "--target sm89, --backend tensorrt_rtx": "--target '' is not the name",
    "--target '' --backend tensorrt_rtx": "--target '' is not the name",
    "--parity-windows 2 --stage cut": "--parity-windows does nothing for cut",
    "--parity-windows 3 --max-windows 2": "3 is out of range: the stages take 1 to 2 windows",
    "--max-windows 11": "--max-windows 11 is out of range: the stages take 1 to 10 windows",
    "--max-windows 2 --stage clip_pool --stage stitch": "--max-windows does nothing for stitch, clip_pool",
    "--weights random:x": "'random:x' has no seed",
    "--weights .": "is a folder",
    "--weights '~nobody-here/x'": "there is no weights file ~nobody-here/x",
}


app = typer.Typer()
app.command()(build)


@pytest.mark.parametrize("words", REFUSED)
def test_an_option_that_means_nothing_is_refused(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(words))
    assert isinstance(result.exception, OdiseError), result.output
    assert REFUSED[words] in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_no_folder_to_put_bundles_into(tmp_path: Path) -> None:
    (tmp_path / "demo-onnxruntime-fp32").mkdir()
    (tmp_path / "demo-onnxruntime-fp32" / MANIFEST).write_text("{}")
    result = CliRunner().invoke(app, ["--output", str(tmp_path / "demo-onnxruntime-fp32")])
    assert isinstance(result.exception, OdiseError)
    assert "is a bundle; --output is the folder that bundles are put into" in result.exception.message
    assert result.exception.hint == f"give --output {shlex.quote(str(tmp_path))}"


@given(st.sampled_from(["preset", "stage"]), st.data())
def test_one_wrong_letter_is_understood(kind: str, data: st.DataObject) -> None:
    names = {"preset": list(PRESETS), "stage": list(all_stages())}[kind]
    name = data.draw(st.sampled_from(names))
    place = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:place] + data.draw(st.sampled_from("qz_ ")) + name[place + 1 :]
    if wrong in names:
        return
    with pytest.raises(ExportError) as caught:
        require_known(wrong, names, kind, ExportError)
    assert f"did you mean {name}?" in str(caught.value.hint)


@given(st.integers())
def test_an_operator_set_is_taken_within_the_range_alone(opset: int) -> None:
    if MINIMUM_OPSET <= opset <= MAXIMUM_OPSET:
        require_opset(opset)
    else:
        with pytest.raises(ExportError, match="use 18 to 25"):
            require_opset(opset)
