"""What is measured, as every part is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sections import Bench


@dataclass(frozen=True)
class Job:
    """The inputs of every part.

    Attributes:
        preset, weights: of the reference. "random:SEED" needs no file.
        device: "cuda", "cuda:1", or "cpu" to try the command.
        side: height of the pictures in pixels; they are square, and 4 : 3.
        seconds: for the runs of one technique.
        precision: of the engines, "fp16" or "fp32".
        commit: what is measured.
        engines: bundles for the part `runtime`.
    """

    preset: str
    weights: str
    device: str
    side: int
    seconds: float
    precision: str
    commit: str
    engines: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as a dictionary. `Job(**...)` reads it."""
        return asdict(self) | {"engines": list(self.engines)}

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
            engines=tuple(self.engines),
        )
