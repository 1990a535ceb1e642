"""The training labels of a model are the categories of its data set."""

from __future__ import annotations

from dataclasses import replace

from reference.datasets.example import Dataset
from reference.errors import TrainingError
from reference.model import ODISE
from reference.model.class_weights import ClassWeights
from reference.weights.safetensors_file import TrainLabels


def labels_of(dataset: Dataset) -> TrainLabels:
    """Return the categories of a data set with their synonyms."""
    return tuple(tuple(names) for names in dataset.vocabulary.synonyms)


def use_labels(model: ODISE, labels: TrainLabels) -> None:
    """Set the training labels of a model.

    Categories are texts, so no learnt parameter depends on their number. Two things do: the list of
    categories for which CLIP has the weight alpha, and the class weights of the loss.
    """
    if tuple(map(tuple, model.train_labels)) == labels:
        return
    model.preset = replace(model.preset, train_labels=labels)
    model.train_labels = labels
    if model.preset.kind == "label":
        device = model.criterion.empty_weight.device
        model.criterion = ClassWeights(len(labels)).to(device)


def check_labels(model: ODISE, dataset: Dataset) -> None:
    """Raise TrainingError unless the categories of a data set are the training labels of a model."""
    if tuple(map(tuple, model.train_labels)) != labels_of(dataset):
        raise TrainingError(
            f"the model is for {len(model.train_labels)} categories, {dataset.name} has others",
            "call reference.training.labels.use_labels first",
        )
