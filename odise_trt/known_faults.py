"""Versions of the backends' packages that are known to compute wrong, or to need far too much memory.

Only what was reported in the open with a way to repeat it, and what concerns operators that our graphs have.
An empty list for a version says that nothing was reported, not that it is right: parity says that.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFault:
    """A fault of a range of versions.

    Attributes:
        package: the package that is imported.
        since: the first version that it was seen in.
        before: the first version without it. None: none is known yet.
        what: what happens.
        advice: what to do, or what guards against it.
        source: where it was reported.
        is_bad: whether the version should be changed. Otherwise bundles avoid it, or it was seen with other
            models only, and a comparison on the GPU has to tell.
        capabilities: compute capabilities that have it, "12" for all of 12.x. Empty: all.
    """

    package: str
    since: str
    before: str | None
    what: str
    advice: str
    source: str
    is_bad: bool
    capabilities: tuple[str, ...] = ()

    def concerns(self, version: str, capabilities: Collection[str]) -> bool:
        """Whether a version has it on a machine with GPUs of these compute capabilities."""
        number = _number(version)
        if not number or number < _number(self.since):
            return False
        if self.before is not None and number >= _number(self.before):
            return False
        # GPUs that cannot be named may be of any kind.
        there = {one.partition(".")[0] for one in capabilities}
        return not self.capabilities or not there or not there.isdisjoint(self.capabilities)


KNOWN_FAULTS = (
    KnownFault(
        "onnxruntime",
        "1.23.2",
        "1.27",
        # Repeated with 1.23.2, 1.24.4, 1.25.1 and 1.26.0: 4 x 64 x 256 x 256, two threads, 0.5 GB more than
        # with 1.23.0 and 1.27.0.
        "on a CPU, a convolution of several windows reserves gigabytes of memory per thread",
        'update it: pip install -U "onnxruntime>=1.27"; until then open with max_windows=1',
        "https://github.com/microsoft/onnxruntime/issues/28466",
        is_bad=True,
    ),
    KnownFault(
        "tensorrt",
        "10.13.3",
        None,
        "GridSample gives wrong numbers without an error, from opset 20 on and in deformable attention",
        "bundles sample by gather; do not build with --sampling grid_sample",
        "https://github.com/NVIDIA/TensorRT/issues/4813",
        is_bad=False,
    ),
    KnownFault(
        "tensorrt",
        "10.11",
        None,
        "more than one picture per run gave wrong numbers for a transformer, without an error",
        "compare the engines with the reference: odise-trt bench gpu; max_windows=1 avoids it",
        "https://github.com/NVIDIA/TensorRT/issues/4853",
        is_bad=False,
    ),
    KnownFault(
        "tensorrt",
        "10.16",
        None,
        "fused attention in fp16 and bf16 gave wrong numbers on consumer Blackwell, fp32 did not",
        "compare the engines with the reference: odise-trt bench gpu; --precision fp32 avoids it",
        "https://github.com/NVIDIA/TensorRT/issues/4837",
        is_bad=False,
        capabilities=("12",),
    ),
)


def faults_of(package: str, version: str, capabilities: Collection[str] = ()) -> tuple[KnownFault, ...]:
    """Return what is known against a version.

    Args:
        package: the package that is imported.
        version: its version. A text without a number has no known faults.
        capabilities: compute capabilities of the GPUs of the machine.
    """
    return tuple(
        fault for fault in KNOWN_FAULTS if fault.package == package and fault.concerns(version, capabilities)
    )


def _number(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
