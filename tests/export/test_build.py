"""Bundles: complete or not at all, rebuilt when something changed, and only then."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from export.build import build
from export.model_spec import model_spec
from export.plan import Request, plan, up_to_date
from export.stages import STAGES, StageWrapper, all_stages
from export.stages.clip_pool import ClipPool
from odise_trt.backends import host_os
from odise_trt.backends.processor import arithmetic
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.bundle.rebuild import USUAL_OPSET
from odise_trt.errors import BackendError, BundleError, ExportError, ParityError, WeightsError
from odise_trt.stage_spec import Axis, StageSpec
from odise_trt.stage_spec import Tensor as Array
from reference.checkpoint import describe_weights
from reference.errors import PresetError
from reference.model import ODISE
from reference.preset import ODISE_LABEL, PRESETS, Preset
from tests.tiny_preset import TINY


class Log:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps = 0
        self.begun: list[str] = []
        self.notes: list[str] = []

    def begin(self, steps: int) -> None:
        self.steps = steps

    def step(self, what: str) -> None:
        self.begun.append(what)

    def phase(self, name: str, done: int, total: int) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


class SmallClipPool(ClipPool):
    """A stage with the tensors of `clip_pool`, exported in a tenth of the time. Bundles are the same."""

    def forward(self, clip_image: Tensor, pred_masks: Tensor) -> Tensor:
        weight = self.clip_pool.clip.visual.proj[:3]
        shares = pred_masks.sigmoid().mean((2, 3))
        return shares.unsqueeze(-1) * (clip_image.mean((2, 3)) @ weight).unsqueeze(1)


class WrongClipPool(SmallClipPool):
    """Off by one percent wherever it is exported."""

    def forward(self, clip_image: Tensor, pred_masks: Tensor) -> Tensor:
        embed = super().forward(clip_image, pred_masks)
        return embed * 1.01 if torch.compiler.is_exporting() else embed


@pytest.fixture(autouse=True, scope="module")
def tiny_preset() -> Iterator[None]:
    """A preset with few weights, and a small stage in place of one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setitem(STAGES, "clip_pool", SmallClipPool)
        yield


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> Request:
    return Request("tiny", "random:7", stages=("clip_pool",), output=tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def folder(request_: Request) -> Path:
    log = Log()
    (built,) = build(request_, log)
    assert len(log.begun) == log.steps
    assert built.missing == tuple(name for name in STAGES if name != "clip_pool")
    assert built.seeded
    return built.folder


def test_a_bundle_says_how_it_was_built_and_opens(folder: Path) -> None:
    assert folder.name == "tiny-onnxruntime-fp32"
    bundle = Bundle.open(folder)
    manifest = bundle.manifest
    assert manifest.weights["source"] == "random:7"
    assert manifest.weights["seeded"] is True
    assert manifest.tools["opset"] == "21"
    assert manifest.tools["sampling"] == "gather"
    assert {row.tensor for row in manifest.parity} == {"clip_mask_embed"}
    # At a square of the typical side, both typical images of the profiles, and the smallest.
    assert len(manifest.parity) == 4
    assert all(0 < row.relative_l2 < 1e-4 for row in manifest.parity)
    assert manifest.stage("clip_pool").build_seconds > 0
    assert manifest.stage("clip_pool").peak_memory_bytes > 2**20
    assert manifest.model.short_side == 128
    assert set(manifest.files) == {"clip_pool.onnx", "constants.npz", "tokenizer.json", "parity.html"}
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_the_official_label_model_is_described_as_published() -> None:
    spec = model_spec(ODISE_LABEL)
    assert (spec.kind, spec.short_side, spec.max_side, spec.window) == ("label", 1024, 2560, 512)
    assert (spec.num_queries, spec.mask_embed_dim, spec.clip_dim, spec.clip_image_size) == (
        100,
        256,
        768,
        336,
    )
    assert (spec.alpha, spec.beta) == (0.3, 0.7)
    assert spec.category_prompt is None
    assert spec.clip_prompt == "a photo of a {}."
    assert len(spec.train_labels) == 133
    assert all(isinstance(name, str) for names in spec.train_labels for name in names)


def test_constants_are_those_of_the_model(folder: Path, request_: Request) -> None:
    from export.checked_export import load_model

    model = load_model(request_)
    constants = Bundle.open(folder).constants()
    assert {name: array.shape for name, array in constants.items()} == {
        "logit_scale": (),
        "clip_logit_scale": (),
        "null_embed": (1, 32),
    }
    raw = model.mask_head.predictor.post_mask_embed.logit_scale.item()
    np.testing.assert_allclose(constants["logit_scale"], min(np.exp(raw), 100), rtol=1e-6)
    head = model.category_head
    weight, bias = head.text_proj.weight.detach().numpy(), head.text_proj.bias.detach().numpy()
    null = head.null_embed.detach().numpy().reshape(1, -1) @ weight.T + bias
    np.testing.assert_allclose(constants["null_embed"], null, rtol=1e-4, atol=1e-5)


def test_what_is_up_to_date_is_left_alone(folder: Path, request_: Request) -> None:
    before = (folder / "manifest.json").stat().st_mtime_ns
    log = Log()
    (built,) = build(request_, log)
    assert built.stages == ()
    assert log.begun == []
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_a_stage_joins_the_bundle_and_the_others_stay_as_they_were(folder: Path, request_: Request) -> None:
    before = (folder / "clip_pool.onnx").read_bytes()
    (built,) = build(replace(request_, stages=("text_encoder",)), Log())
    assert built.missing == tuple(name for name in STAGES if name not in ("clip_pool", "text_encoder"))
    assert [result.stage for result in built.stages] == ["text_encoder"]
    manifest = Bundle.open(folder).manifest
    assert [entry.spec.name for entry in manifest.stages] == ["clip_pool", "text_encoder"]
    assert {row.stage for row in manifest.parity} == {"clip_pool", "text_encoder"}
    assert (folder / "clip_pool.onnx").read_bytes() == before


class ReadsTheSameClip(StageWrapper):
    """A small stage with a weight that `SmallClipPool` has, too."""

    def __init__(self, model: ODISE) -> None:
        super().__init__(model)
        self.clip = model.clip

    @classmethod
    def declare(cls, preset: Preset) -> StageSpec:
        width, embed = preset.clip.vision_width, preset.clip.embed_dim
        return StageSpec(
            "captioner",
            (Array("tokens", "float32", ("windows", width)),),
            (Array("prefix", "float32", ("windows", embed)),),
            (Axis("windows", 1, 2, 4),),
            (),
        )

    @classmethod
    def examples(
        cls, model: ODISE, sizes: Mapping[str, int], generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        return (torch.randn(sizes["windows"], model.preset.clip.vision_width, generator=generator),)

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens @ self.clip.visual.proj


class PoolsWithAll(SmallClipPool):
    """With the whole weight, so that both graphs hold the same tensor."""

    def forward(self, clip_image: Tensor, pred_masks: Tensor) -> Tensor:
        shares = pred_masks.sigmoid().mean((2, 3))
        weight = self.clip_pool.clip.visual.proj
        return shares.unsqueeze(-1) * (clip_image.mean() * torch.ones_like(weight[:, 0]) @ weight)


def test_stages_keep_a_weight_that_they_have_in_common_once(
    tmp_path: Path, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.onnx_export.EXTERNAL_DATA_BYTES", 1)
    monkeypatch.setitem(STAGES, "captioner", ReadsTheSameClip)
    monkeypatch.setitem(STAGES, "clip_pool", PoolsWithAll)
    both = replace(request_, stages=("captioner", "clip_pool"), output=tmp_path)
    (built,) = build(both, Log())
    manifest = Bundle.open(built.folder).manifest
    assert manifest.stage("clip_pool").files == ("clip_pool.onnx", "captioner.onnx.data")
    # Its own file was replaced, so what reads from it is built again, and nothing is lost.
    (again,) = build(replace(both, stages=("captioner",), force=True), Log())
    assert [result.stage for result in again.stages] == ["captioner", "clip_pool"]
    Bundle.open(again.folder)


def test_a_stage_of_other_weights_does_not_join(tmp_path: Path, folder: Path, request_: Request) -> None:
    (built,) = build(replace(request_, weights="random:8", force=True), Log())
    assert built.folder == folder
    assert [entry.spec.name for entry in Manifest.read(folder).stages] == ["clip_pool"]


def test_a_stage_that_misses_its_tolerance_installs_nothing_and_leaves_a_report(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAGES, "clip_pool", WrongClipPool)
    with pytest.raises(ParityError, match=r"clip_pool\.clip_mask_embed.*relative L2 1\.00e-02") as caught:
        build(replace(request_, output=tmp_path), Log())
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-fp32-clip_pool.parity.html"]
    assert str(tmp_path / "tiny-fp32-clip_pool.parity.html") in str(caught.value)


def is_up_to_date(request: Request) -> bool:
    (target,) = plan(request)
    return up_to_date(target, request, describe_weights(request.preset, request.weights))


def test_options_that_change_the_result_ask_for_a_new_build(folder: Path, request_: Request) -> None:
    current = replace(request_, weights=Manifest.read(folder).weights["source"])
    assert is_up_to_date(current)
    for changed in ({"opset": 22}, {"sampling": "grid_sample"}, {"weights": "random:9"}, {"force": True}):
        assert not is_up_to_date(replace(current, **changed))
    assert not is_up_to_date(replace(current, stages=()))


def test_a_missing_file_asks_for_a_new_build(folder: Path, request_: Request, tmp_path: Path) -> None:
    current = replace(request_, weights=Manifest.read(folder).weights["source"])
    (folder / "parity.html").rename(tmp_path / "parity.html")
    try:
        assert not is_up_to_date(current)
    finally:
        (tmp_path / "parity.html").rename(folder / "parity.html")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    # A new file: kept stages are hard links, and the bundle they came from is to stay as it is.
    path.unlink()
    path.write_bytes(data)


@pytest.fixture
def copied(folder: Path, request_: Request, tmp_path: Path) -> Request:
    """A request that a copy of the bundle in `tmp_path` is up to date for."""
    shutil.copytree(folder, tmp_path / folder.name)
    return replace(request_, weights=Manifest.read(folder).weights["source"], output=tmp_path)


def test_a_changed_byte_asks_for_a_new_build(copied: Request, folder: Path) -> None:
    assert is_up_to_date(copied)
    flip_a_byte(copied.output / folder.name / "clip_pool.onnx")
    assert not is_up_to_date(copied)


def test_the_weights_file_is_hashed_once_per_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        hashed.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    request = Request("demo", "demo", stages=("clip_pool",), output=tmp_path)
    (built,) = build(request, Log())
    assert built.stages
    assert hashed.count("demo.safetensors") == 1
    (built,) = build(request, Log())
    assert not built.stages
    assert hashed.count("demo.safetensors") == 2


@pytest.mark.skipif("bf16" not in arithmetic(), reason="the processor has no bf16 arithmetic")
def test_a_bf16_build_is_compared_in_its_own_backend_and_keeps_some_stages_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(STAGES, "captioner", ReadsTheSameClip)
    monkeypatch.setattr(ReadsTheSameClip, "bf16", False)
    request = Request(
        "tiny",
        "random:7",
        backends=("openvino",),
        precision="bf16",
        stages=("clip_pool", "captioner"),
        output=tmp_path,
    )
    (built,) = build(request, Log())
    assert built.folder.name == "tiny-openvino-bf16"
    manifest = Bundle.open(built.folder).manifest
    assert manifest.backend["arithmetic"] == ["bf16"]
    assert {entry.spec.name: entry.precision for entry in manifest.stages} == {
        "clip_pool": None,
        "captioner": "fp32",
    }
    assert {row.check for row in manifest.parity} == {"openvino"}
    worst = {row.stage: row for row in sorted(manifest.parity, key=lambda row: row.relative_l2)}
    assert 1e-4 < worst["clip_pool"].relative_l2 < worst["clip_pool"].tolerance == 5e-2
    assert worst["captioner"].relative_l2 < worst["captioner"].tolerance == 1e-4
    assert manifest.precision_map["captioner"]["float32"] == ["everything"]
    assert "bfloat16" in manifest.precision_map["clip_pool"]
    assert build(request, Log())[0].stages == ()


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed")
def test_one_build_makes_bundles_for_several_backends_each_at_its_own_precision(tmp_path: Path) -> None:
    backends = ("onnxruntime", "tensorrt_rtx")
    request = Request(
        "tiny",
        "random:7",
        backends=backends,
        stages=("clip_pool",),
        output=tmp_path,
        compute_capabilities=("8.9",),
    )
    log = Log()
    graphs, engines = build(request, log)
    assert len(log.begun) == log.steps
    assert graphs.folder.name == "tiny-onnxruntime-fp32"
    assert engines.folder.name == "tiny-tensorrt_rtx-fp16-sm89"
    manifest = Bundle.open(engines.folder).manifest
    assert manifest.stage("clip_pool").files == ("clip_pool.engine",)
    assert manifest.backend["compute_capability"] == ["8.9"]
    assert manifest.backend["os"] == host_os()
    assert [built.stages for built in build(request, Log())] == [(), ()]


@pytest.mark.parametrize("damage", [flip_a_byte, Path.unlink])
def test_a_damaged_stage_is_not_kept_by_the_build_of_another(
    damage: Callable[[Path], None], copied: Request, folder: Path
) -> None:
    bundle = copied.output / folder.name
    damage(bundle / "clip_pool.onnx")
    before = (bundle / "manifest.json").read_bytes()
    log = Log()
    with pytest.raises(BundleError, match=r"clip_pool\.onnx (was changed|is missing)") as caught:
        build(replace(copied, stages=("text_encoder",)), log)
    assert str(caught.value.hint).endswith("add --stage clip_pool")
    assert log.begun == []
    assert (bundle / "manifest.json").read_bytes() == before
    assert [path.name for path in copied.output.iterdir()] == [bundle.name]


@pytest.mark.slow
def test_the_printed_command_repairs_the_bundle(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STAGES, "clip_pool", ClipPool)
    (built,) = build(Request("demo", "random:7", stages=("clip_pool",), output=tmp_path), Log())
    bundle, files = built.folder, Manifest.read(built.folder).files
    flip_a_byte(bundle / "clip_pool.onnx")
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle)
    command = shlex.split(str(caught.value.hint).removeprefix("rebuild it: "))
    assert command[:2] == ["python", "export/build_engines.py"]
    done = script(root, *command[2:])
    assert done.returncode == 0, done.stderr
    assert "up to date" not in done.stdout
    assert Bundle.open(bundle).manifest.files == files


def test_the_command_that_is_printed_leaves_out_the_defaults_of_a_build(request_: Request) -> None:
    usual = Request(request_.preset, request_.weights)
    assert (str(usual.opset), usual.sampling) == (USUAL_OPSET, None)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"preset": "odise"}, PresetError, "there is no preset 'odise'"),
        ({"stages": ("decoder",)}, ExportError, "there is no stage 'decoder'"),
        ({"backends": ("onnx",)}, BackendError, "there is no backend 'onnx'"),
        ({"weights": "missing.safetensors"}, WeightsError, "no weights file"),
        ({"precision": "int4"}, ExportError, "there is no precision 'int4'"),
        ({"precision": "bf16"}, ExportError, "onnxruntime has no engines in bf16.*\n.*--backend openvino"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_any_work(
    change: Mapping[str, object], error: type[Exception], message: str, request_: Request, tmp_path: Path
) -> None:
    log = Log()
    with pytest.raises(error, match=message):
        build(replace(request_, output=tmp_path, **change), log)  # type: ignore[arg-type]
    assert log.begun == []
    assert not list(tmp_path.iterdir())


def test_the_second_of_two_equal_builds_waits_and_finds_the_bundle_up_to_date(
    request_: Request, tmp_path: Path
) -> None:
    request, logs = replace(request_, output=tmp_path), (Log(), Log())
    with ThreadPoolExecutor() as pool:
        built = [bundle for (bundle,) in pool.map(build, [request] * 2, logs)]
    assert sorted(len(bundle.stages) for bundle in built) == [0, 1]
    (waiting,) = [log for log in logs if not log.begun]
    (note,) = waiting.notes
    assert note.startswith(f"waiting for another build of {built[0].folder}")
    assert os.listdir(tmp_path) == [built[0].folder.name]


@pytest.mark.slow
def test_two_builds_of_different_stages_at_once_make_one_bundle(root: Path, tmp_path: Path) -> None:
    def one(stage: str) -> subprocess.CompletedProcess[str]:
        return script(root, "--stage", stage, "--weights", "random:7", "--output", str(tmp_path))

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(one, ["clip_pool", "text_encoder", "captioner"]))
    assert [process.returncode for process in done] == [0, 0, 0]
    assert any("waiting for another build of" in process.stdout for process in done)
    (bundle,) = tmp_path.iterdir()
    names = [entry.spec.name for entry in Bundle.open(bundle).manifest.stages]
    assert names == ["captioner", "clip_pool", "text_encoder"]


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_build_with_one_message(root: Path, tmp_path: Path) -> None:
    """As the kernel does where memory runs out."""
    command = [sys.executable, str(root / "export" / "build_engines.py"), "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--stage", "clip_pool", "--stage", "captioner", "--output", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    workers: list[psutil.Process] = []
    while process.poll() is None and len(workers) < 2:
        children = psutil.Process(process.pid).children()
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        time.sleep(0.05)
    workers[0].kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert errors.splitlines()[0].endswith("most often because memory ran out")
    assert len(errors.splitlines()) == 2
    assert os.listdir(tmp_path) == []


def script(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # From another folder and without PYTHONPATH: the script finds the checkout it lies in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(root / "export" / "build_engines.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)


def test_the_script_runs_from_anywhere_and_explains_its_options(root: Path) -> None:
    done = script(root, "--help")
    assert done.returncode == 0
    for option in ("--preset", "--weights", "--backend", "--precision", "--stage", "--output", "--sampling"):
        assert option in done.stdout


@pytest.mark.slow
def test_the_script_prints_an_error_and_its_remedy_and_fails(root: Path, tmp_path: Path) -> None:
    done = script(root, "--stage", "decoder", "--output", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "ExportError: there is no stage 'decoder'\n"
        f"  did you mean text_encoder? stages: {', '.join(all_stages())}\n"
    )
