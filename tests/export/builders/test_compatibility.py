"""Engines for later versions of TensorRT and for other GPUs: what is set, refused and recorded."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from export.builders import open_builder
from export.builders.compatibility import chosen, make_compatible, price_of
from export.builders.tensorrt import _config
from export.quantizing.gpus import require_gpu
from odise_trt.backends import find_backend
from odise_trt.backends.cuda import Device
from odise_trt.backends.registry import BackendEntry
from odise_trt.errors import BackendError, ExportError

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"
)
ADA, TURING = Device("L4", "8.9", "13.0", 2**34), Device("T4", "7.5", "13.0", 2**34)
BOTH = ("version", "hardware")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with TensorRT and one GPU: `gpu(device)`."""
    monkeypatch.setattr(BackendEntry, "load", lambda self: SimpleNamespace(__version__="10.13.0"))

    def on(device: Device) -> None:
        monkeypatch.setattr("export.builders.tensorrt.open_cuda", lambda: SimpleNamespace(device=device))

    return on


class Config:
    """What is set of `tensorrt.IBuilderConfig`."""

    def __init__(self) -> None:
        self.flags: list[str] = []
        self.hardware_compatibility_level = "NONE"

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)


@pytest.mark.parametrize("compatible", [(), ("version",), ("hardware",), BOTH])
def test_an_engine_is_made_for_what_was_asked_for_and_no_more(compatible: tuple[str, ...]) -> None:
    flavour = SimpleNamespace(
        BuilderFlag=SimpleNamespace(VERSION_COMPATIBLE="VERSION_COMPATIBLE"),
        HardwareCompatibilityLevel=SimpleNamespace(AMPERE_PLUS="AMPERE_PLUS"),
    )
    config = Config()
    make_compatible(flavour, config, compatible)  # type: ignore[arg-type]
    # The lean runtime stays in the engine: opening it needs nothing else.
    assert config.flags == ["VERSION_COMPATIBLE"] * ("version" in compatible)
    assert config.hardware_compatibility_level == ("AMPERE_PLUS" if "hardware" in compatible else "NONE")


@needs_rtx
def test_it_reaches_the_configuration_of_an_engine() -> None:
    flavour = find_backend("tensorrt_rtx").load()
    config = _config(flavour, flavour.Builder(flavour.Logger()), compatible=("version",))
    assert config.get_flag(flavour.BuilderFlag.VERSION_COMPATIBLE)


@pytest.mark.parametrize("compatible", [(), ("version",), BOTH])
def test_the_manifest_says_what_engines_are_compatible_with(gpu: Any, compatible: tuple[str, ...]) -> None:
    gpu(ADA)
    builder = open_builder(find_backend("tensorrt"), (), False, compatible)
    assert builder is not None
    assert builder.facts["compute_capability"] == ["8.9"]
    assert builder.facts.get("compatible", []) == list(compatible)
    assert len(price_of(builder.facts)) == len(compatible)


def test_a_gpu_before_ampere_builds_no_hardware_compatible_engines(gpu: Any) -> None:
    gpu(TURING)
    entry = find_backend("tensorrt")
    with pytest.raises(BackendError, match=r"compute capability 8\.0 and later, T4 has 7\.5"):
        open_builder(entry, (), False, ("hardware",))
    assert open_builder(entry, (), False, ("version",)) is not None


def test_fp8_is_not_for_every_gpu_that_hardware_compatible_engines_are_for() -> None:
    backend = {"compute_capability": ["8.9"], "compatible": ["hardware"]}
    with pytest.raises(ExportError, match=r"run from compute capability 8\.0 on, and fp8 begins with 8\.9"):
        require_gpu("fp8", backend)
    require_gpu("int8", backend)
    require_gpu("fp8", backend | {"compatible": ["version"]})


def test_the_price_is_said_with_its_source() -> None:
    version, hardware = price_of({"compatible": chosen(True, True)})
    assert "lean runtime" in version
    assert "48 KiB" in hardware
    assert all("https://docs.nvidia.com/deeplearning/tensorrt/" in line for line in (version, hardware))
    assert price_of({}) == ()
