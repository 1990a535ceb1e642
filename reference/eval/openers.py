"""What an evaluation opens by the names of a command line: datasets, bundles, the PyTorch model.

Torch and the datasets take seconds to import: they are imported when something is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from reference.ablation import Ablation
    from reference.datasets.example import Dataset
    from reference.eval.prediction import Predictor

#: Drawn scenes, by all their words, by those of training, by synonyms alone; see `reference.scenes.held_out`.
SCENES = ("scenes", "scenes-names", "scenes-synonyms")
#: Scenes that are evaluated unless --limit says more.
_SCENES = 100

#: Opens a predictor, and closes it again.
Opener = Callable[[], AbstractContextManager["Predictor"]]


def open_named(name: str, data: Path | None, split: str | None, limit: int | None) -> Dataset:
    """Open the dataset that --dataset, --data and --split name.

    Raises:
        DatasetError: there is no dataset of that name, or it is not complete.
        typer.BadParameter: --data or --split does not go with it, or --data is missing.
    """
    if name in SCENES:
        from reference.scenes.held_out import held_out

        if data is not None:
            raise typer.BadParameter(f"{name} are drawn, and read nothing: leave it out", param_hint="--data")
        if split is not None:
            raise typer.BadParameter(f"{name} has no parts: leave it out", param_hint="--split")
        return held_out(max(_SCENES, limit or 0), name)
    from reference.datasets import open_dataset
    from reference.datasets.catalogue import layout_of
    from reference.errors import DatasetError

    try:
        layout_of(name)
    except DatasetError as error:
        raise DatasetError(error.message, f"{error.hint}; and drawn ones: {', '.join(SCENES)}") from error
    if data is None:
        raise typer.BadParameter(f"say where {name} is", param_hint="--data")

    return open_dataset(name, data) if split is None else open_dataset(name, data, split)


def folder_name(dataset: Dataset) -> str:
    """Return the name of the folder, within --output, for predictions on a dataset."""
    split = getattr(dataset, "split", None)
    return dataset.name if split is None else f"{dataset.name}-{split}"


def open_bundle(folder: Path, device: str | None, threads: int | None) -> Opener:
    """Return a function that opens a bundle."""

    @contextmanager
    def opened() -> Iterator[Predictor]:
        from odise_trt.segmenter import Segmenter
        from reference.eval.predictors import BundlePredictor

        with Segmenter.open(folder, device=device, threads=threads) as segmenter:
            yield BundlePredictor(segmenter)

    return opened


def reference_name(ablation: Ablation) -> str:
    """Return the name of an ablated model, such as "reference-classifier-1,1"; no two have the same."""
    from reference.ablation import Ablation

    options = [] if ablation == Ablation() else ablation.summary().replace("--", "").split()
    return "-".join(("reference", *options))


def open_reference(
    preset: str | None,
    weights: str | None,
    device: str | None,
    threads: int | None,
    ablation: Ablation,
) -> Opener:
    """Return a function that loads the PyTorch model; None: demo preset and weights, the CPU, all threads."""

    @contextmanager
    def opened() -> Iterator[Predictor]:
        import torch

        from reference.checkpoint import describe_weights, load_weights
        from reference.device import choose_device
        from reference.errors import AblationError
        from reference.eval.predictors import ReferencePredictor
        from reference.preset import find_preset

        # Before the weights, which can take a minute to read.
        place = choose_device(device or "cpu")
        if ablation.captioner == "given":
            raise AblationError("evaluation gives no captions", "use --captioner empty or implicit")

        if threads is not None:
            torch.set_num_threads(threads)
        ablated = find_preset("demo" if preset is None else preset).with_ablation(ablation)
        source = "demo" if weights is None else weights
        model = load_weights(ablated, source).to(place)
        yield ReferencePredictor(model, describe_weights(ablated, source))

    return opened
