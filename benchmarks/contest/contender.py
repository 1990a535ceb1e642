"""What competes: the PyTorch reference in one of its forms, or a bundle."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Forms of the reference -> what they are called in tables, the official way first.
REFERENCE = {
    "official": "official way",
    "pruned": "pruned, window by window",
    "batched": "pruned, batched",
    "bf16": "pruned, batched, bf16 backbone",
    "compiled": "pruned, batched, compiled backbone",
}


#: The forms that compete unless others are asked for, and why the last one does not.
USUAL = ("official", "pruned", "batched", "bf16")
LEFT_OUT = "torch.compile takes minutes on a CPU; --reference compiled runs it"


@dataclass(frozen=True)
class Contender:
    """One way to segment a picture.

    Attributes:
        name: a key of `REFERENCE`, or the name of a bundle's folder.
        engines: the bundle's folder. None: the reference.
        preset, weights: those of the reference.
        vocabulary: a value of `--vocab`.
        threads: CPU threads.
        device: of a bundle, as for `Segmenter.open`.
    """

    name: str
    engines: str | None
    preset: str
    weights: str
    vocabulary: str
    threads: int
    device: str | None = None

    @property
    def technique(self) -> str:
        """What tables call it."""
        return self.name if self.engines is not None else REFERENCE[self.name]

    def described(self) -> dict[str, Any]:
        """The entries of a record that are known before it runs: technique, backend and precision."""
        if self.engines is None:
            precision = "bf16" if self.name == "bf16" else "fp32"
            return {"technique": self.technique, "backend": "torch", "precision": precision}
        from odise_trt.bundle.manifest import Manifest

        manifest = Manifest.read(Path(self.engines))
        return {
            "technique": self.technique,
            "backend": manifest.backend["name"],
            "precision": manifest.precision,
        }


def contenders(
    reference: Iterable[str],
    bundles: Iterable[Path],
    *,
    preset: str,
    weights: str,
    vocabulary: str,
    threads: int,
    device: str | None = None,
) -> list[Contender]:
    """List the forms of the reference and then the bundles. Each name occurs once.

    Args:
        reference: keys of `REFERENCE`.
        bundles: their folders. Two of one name get the names of their parents, too.
    """
    made = [Contender(name, None, preset, weights, vocabulary, threads) for name in dict.fromkeys(reference)]
    folders = list(dict.fromkeys(Path(os.path.abspath(bundle)) for bundle in bundles))
    names = [folder.name for folder in folders]
    for folder in folders:
        name = folder.name if names.count(folder.name) == 1 else f"{folder.parent.name}/{folder.name}"
        made.append(Contender(name, str(folder), preset, weights, vocabulary, threads, device))
    return made
