"""What a metric is: an accumulator that is fed one image at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from reference.datasets.example import Example, Federation
from reference.eval.prediction import Prediction


@runtime_checkable
class Federated(Protocol):
    """A dataset in which not every category was looked for in every image (LVIS).

    Attributes:
        frequency: "r", "c" or "f" for each category of the vocabulary.
    """

    @property
    def frequency(self) -> Sequence[str]:
        """See above."""
        ...

    def federation(self, index: int) -> Federation:
        """What the truth of an image leaves open."""
        ...


@dataclass(frozen=True)
class Scored:
    """One image, with truth and prediction for the task of the metric.

    Attributes:
        federation: what the truth leaves open, for datasets that are `Federated`.
    """

    example: Example
    prediction: Prediction
    federation: Federation | None = None


@dataclass(frozen=True)
class Numbers:
    """Percentages; None where there was nothing to score.

    Attributes:
        averages: by the names of the metric's declaration.
        categories: a row for each category, by the columns of the declaration.
    """

    averages: Mapping[str, float | None]
    categories: Sequence[Mapping[str, float | int | None]]


class Accumulator(Protocol):
    """Collects images. Made by calling the class with the dataset."""

    def add(self, image: Scored) -> None:
        """Score one image.

        Raises:
            ValueError: the prediction is not of this image's size or this vocabulary.
        """
        ...

    def result(self) -> Numbers:
        """The numbers of what was added."""
        ...
