"""The start of a training run: the model, and the sources of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from odise_trt.errors import OdiseError

if TYPE_CHECKING:
    from reference.ablation import Ablation
    from reference.datasets.example import Dataset
    from reference.model import ODISE
    from reference.preset import Preset


@dataclass(frozen=True)
class Start:
    """A model before its first step.

    Attributes:
        preset: the sizes.
        ablation: the differences from the paper's model.
        frozen: source of the frozen part. Without `weights`, the trainable part is initialised.
        weights: source of all weights, or with `frozen` of the trainable part; of the paper's model.
    """

    preset: Preset
    ablation: Ablation
    frozen: str | None = None
    weights: str | None = None

    def model(self, dataset: Dataset, seed: int) -> ODISE:
        """Make the model, with the categories of a data set as training labels.

        Raises:
            WeightsError: the weights cannot be read or do not fit.
        """
        import torch

        from reference.checkpoint import load_frozen, load_weights
        from reference.model.ablations.ablate import ablate
        from reference.training.initialise import initialise
        from reference.training.labels import labels_of, use_labels

        torch.manual_seed(seed)  # for new parts of an ablated model
        if self.weights is not None:
            model = load_weights(self.preset, self.weights, frozen=self.frozen)
        elif self.frozen is not None:
            model = load_frozen(self.preset, self.frozen)
        else:
            raise OdiseError("there are no weights to begin with", "give --frozen or --weights")
        if not self.ablation.is_paper:
            model = ablate(model, self.ablation)
        use_labels(model, labels_of(dataset))
        if self.weights is None:
            initialise(model, seed)
        return model

    def facts(self) -> dict[str, str]:
        """Return what must be the same when the run is resumed."""
        from reference.checkpoint import describe_weights

        sources = {"frozen": self.frozen, "weights": self.weights}
        digests = {
            name: describe_weights(self.preset, source)["sha256"]
            for name, source in sources.items()
            if source is not None
        }
        return {"ablation": self.ablation.summary(), **digests}
