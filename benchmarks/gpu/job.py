"""What is measured, as every part is told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sections import Bench


@dataclass(frozen=True)
class MeasuredBundle:
    """A bundle, as the record names it.

    Attributes:
        folder: where it is.
        sha256: of its manifest, which has the hashes of all its files.
        preset, backend, precision: what it says of itself.
    """

    folder: str
    sha256: str
    preset: str
    backend: str
    precision: str

    @classmethod
    def read(cls, folder: Path) -> MeasuredBundle:
        """Read the manifest of a bundle.

        Raises:
            BundleError: there is none.
        """
        from odise_trt.bundle.manifest import MANIFEST, Manifest

        manifest = Manifest.read(folder)
        digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        return cls(str(folder), digest, manifest.preset, manifest.backend["name"], manifest.precision)


@dataclass(frozen=True)
class Job:
    """The inputs of every part.

    Attributes:
        preset, weights: of the reference. "random:SEED" needs no file.
        device: "cuda", "cuda:1", or "cpu" to try the command.
        side: height of the pictures in pixels; they are square, and 4 : 3.
        seconds: for the runs of one technique.
        precision: of the engines of the parts BACKEND-STAGE, "fp16" or "fp32". Bundles have their own.
        commit: what is measured.
        bundles: for the parts that measure the runtime.
    """

    preset: str
    weights: str
    device: str
    side: int
    seconds: float
    precision: str
    commit: str
    bundles: tuple[MeasuredBundle, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as a dictionary."""
        return asdict(self) | {"bundles": [asdict(one) for one in self.bundles]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Job:
        """Read what `to_json` returned."""
        bundles: Iterable[dict[str, Any]] = found["bundles"]
        return cls(**{**found, "bundles": tuple(MeasuredBundle(**one) for one in bundles)})

    def bench(self) -> Bench:
        """Return the bench that parts are called with. The model is loaded by the first part that uses it.

        Raises:
            DeviceError: there is no such device.
        """
        from reference.device import choose_device

        from .sections import Bench

        sizes = ((self.side, self.side), (self.side, self.side * 4 // 3))
        return Bench(
            self.preset,
            self.weights,
            choose_device(self.device),
            sizes,
            seconds=self.seconds,
            precision=self.precision,
            engines=tuple(one.folder for one in self.bundles),
        )
