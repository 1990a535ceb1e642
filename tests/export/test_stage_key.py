"""The key of a stage changes with everything that decides its files, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export import plan as planning
from export import stage_key as keys_of
from export.build import build
from export.plan import Request, Target, plan, stage_keys
from export.stages.captioner import Captioner
from export.stages.clip_pool import ClipPool
from odise_trt.bundle import Bundle
from odise_trt.bundle.manifest import Manifest
from odise_trt.stage_spec import Profile, Tolerance
from reference.checkpoint import describe_weights
from reference.preset import PRESETS
from tests.export.quick_build import STAGES, Log, make_quick, quick_request
from tests.tiny_preset import TINY

Change = Callable[[pytest.MonkeyPatch, Request, Target], tuple[Request, Target]]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        yield


def of_request(**options: Any) -> Change:
    return lambda patch, request, target: (replace(request, **options), target)


def of_target(**facts: Any) -> Change:
    return lambda patch, request, target: (request, replace(target, **facts))


def of_backend(**facts: Any) -> Change:
    return lambda patch, request, target: (request, replace(target, backend={**target.backend, **facts}))


def of_entry(**facts: Any) -> Change:
    return lambda patch, request, target: (request, replace(target, entry=replace(target.entry, **facts)))


def patched(where: Any, name: str, value: Any) -> Change:
    def change(patch: pytest.MonkeyPatch, request: Request, target: Target) -> tuple[Request, Target]:
        patch.setattr(where, name, value)
        return request, target

    return change


def of_preset(**sizes: Any) -> Change:
    def change(patch: pytest.MonkeyPatch, request: Request, target: Target) -> tuple[Request, Target]:
        patch.setitem(PRESETS, "tiny", replace(TINY, **sizes))
        return request, target

    return change


def declared(**parts: Any) -> Change:
    """The captioner declares something else."""
    spec = Captioner.declare(TINY)
    return patched(Captioner, "declare", classmethod(lambda cls, preset: replace(spec, **parts)))


def one_package_is_newer(name: str) -> str:
    return "9.9" if name == "torch" else "1.0"


def source_of_another_stage(stage: str | None = None) -> str:
    return "changed" if stage != "captioner" else "as it was"


DECIDES: Mapping[str, Change] = {
    "weights": of_request(weights="random:8"),
    "operator set": of_request(opset=22),
    "most windows in a run": of_request(max_windows=4),
    "sampling": of_target(sampling="grid_sample"),
    "precision": of_target(precision="fp16"),
    "size of the model": of_preset(short_side=192),
    "size of a part": of_preset(unet=replace(TINY.unet, num_heads=1)),
    "exact version of the backend": of_backend(version="1.32.1"),
    "backend": of_backend(name="another"),
    "compute capability": of_backend(compute_capability=["8.9"]),
    "GPU": of_backend(gpu="NVIDIA L4"),
    "driver": of_backend(driver="13.0"),
    "operating system": of_backend(os="linux-aarch64"),
    "arithmetic": of_backend(arithmetic=["bf16"]),
    "operators that the backend lacks": of_entry(lacks=frozenset({"TopK"})),
    "operators that it fuses": of_entry(fuses=frozenset({"attention"})),
    "what graphs are compared in": of_entry(checks=True),
    "profiles": declared(profiles=(Profile("one", {"windows": (1, 1, 1), "side": (64, 64, 128)}),)),
    "axes": declared(
        axes=tuple(replace(axis, typical=axis.maximum) for axis in Captioner.declare(TINY).axes)
    ),
    "tolerance": declared(tolerance=Tolerance(fp32=1e-5)),
    "float32 parts": patched(Captioner, "float32", ("proj",)),
    "words about them": patched(Captioner, "islands", ("everything",)),
    "precision of the stage": of_target(precision="bf16"),
    "version of a package": patched(planning, "package_version", one_package_is_newer),
    "code": patched(keys_of, "source_digest", lambda stage=None: "changed"),
    "format of bundles": patched(keys_of, "FORMAT", 2),
}
DECIDES_NOTHING: Mapping[str, Change] = {
    "place": of_request(output=Path("elsewhere")),
    "processes": of_request(jobs=2),
    "force": of_request(force=True),
    "windows in parity checks": of_request(parity_limits={"windows": 1}),
    "other stages": of_request(stages=("captioner",)),
    "folder": of_target(folder=Path("elsewhere")),
    "declaration of another stage": patched(ClipPool, "islands", ("everything",)),
}


def key(request: Request, target: Target) -> str:
    return stage_keys(request, target, describe_weights("tiny", request.weights))["captioner"]


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return quick_request(tmp_path)


@pytest.mark.parametrize("part", DECIDES)
def test_whatever_decides_a_stage_changes_its_key(
    part: str, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target,) = plan(request_)
    before = key(request_, target)
    assert key(*DECIDES[part](monkeypatch, request_, target)) != before


@pytest.mark.parametrize("part", DECIDES_NOTHING)
def test_whatever_decides_nothing_leaves_the_key(
    part: str, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target,) = plan(request_)
    before = key(request_, target)
    assert key(*DECIDES_NOTHING[part](monkeypatch, request_, target)) == before


def test_every_part_of_the_key_is_changed_by_one_of_these_tests(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is added to the key needs a row above."""
    found: list[dict[str, object]] = []
    parts_of = keys_of.key_parts

    def record(name: str, *rest: Any) -> dict[str, object]:
        parts = parts_of(name, *rest)
        if name == "captioner":
            found.append(parts)
        return parts

    monkeypatch.setattr(keys_of, "key_parts", record)
    (target,) = plan(request_)
    key(request_, target)
    # The others change parts that these change, too.
    for part in (
        "weights",
        "precision",
        "size of a part",
        "driver",
        "operators that the backend lacks",
        "operators that it fuses",
        "what graphs are compared in",
        "axes",
        "float32 parts",
        "words about them",
        "operator set",
        "code",
        "format of bundles",
    ):
        change = DECIDES[part]
        with pytest.MonkeyPatch.context() as patch:
            key(*change(patch, request_, target))
    first, *rest = found
    assert {name for parts in rest for name in parts if parts[name] != first[name]} == set(first) - {"stage"}


def test_fewer_windows_in_a_run_change_only_the_stages_that_take_windows(request_: Request) -> None:
    build(request_, Log())
    log = Log()
    (built,) = build(replace(request_, max_windows=4), log)
    # `clip_pool` takes none, and reads weights from the file of `captioner`.
    assert log.exported() == ["captioner", "clip_pool"]
    spec = Manifest.read(built.folder).stage("captioner").spec
    assert spec.axis("windows").maximum == 4
    assert {profile.ranges["windows"] for profile in spec.profiles} == {(1, 4, 4)}
    assert "--max-windows 4" in Bundle.open(built.folder).repair_hint()


def test_only_the_stage_that_changed_is_built_again(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(request_, Log())
    monkeypatch.setattr(ClipPool, "float32", ("clip_pool.clip.visual.conv1",))
    log = Log()
    (built,) = build(request_, log)
    assert log.exported() == ["clip_pool"]
    assert log.kept() == ["captioner", "text_encoder"]
    assert len(log.begun) == log.steps
    assert [result.stage for result in built.stages] == ["clip_pool"]
    assert built.kept == ("captioner", "text_encoder")


def test_stages_that_read_weights_of_the_one_that_changed_are_built_again_too(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(request_, Log())
    monkeypatch.setattr(Captioner, "islands", ("everything",))
    log = Log()
    build(request_, log)
    assert log.exported() == ["captioner", "clip_pool"]
    assert log.kept() == ["text_encoder"]


@pytest.mark.parametrize("part", ["operator set", "weights"])
def test_what_changes_every_key_builds_every_stage(
    part: str, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target,) = plan(request_)
    build(request_, Log())
    changed, _ = DECIDES[part](monkeypatch, request_, target)
    log = Log()
    build(changed, log)
    assert log.exported() == list(STAGES)
    assert log.kept() == []
