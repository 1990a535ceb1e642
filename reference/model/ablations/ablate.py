"""An ablated model from one that has weights."""

from __future__ import annotations

import torch
from torch import nn

from reference.ablation import LEARNABLE, Ablation
from reference.model.ablations.given_captions import EmptyCaptioner
from reference.model.ablations.time_steps import LearnableStep
from reference.model.allocation import SkipInitialisation
from reference.model.odise import ODISE


def ablate(model: ODISE, ablation: Ablation) -> ODISE:
    """The ablated model, with the weights of `model` in every part that both have.

    The tensors are shared, so it takes no memory, and `model` is not to be used after. What `model` does
    not have starts as PyTorch makes it, and needs training: projections whose inputs are others, and the
    learnable step. Weights of a model that was trained with an ablation are loaded for its own preset,
    `load_weights(preset.with_ablation(ablation), path)`.

    Args:
        model: the paper's.
        ablation: what is to be different.

    Raises:
        AblationError: the ablation does not fit the preset, or `model` is ablated itself.
    """
    model.preset.ablation.refuse("no other ablation is made of")
    with SkipInitialisation():
        ablated = ODISE(model.preset.with_ablation(ablation))
    fresh = new_parts(ablation)
    tensors = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in ablated.state_dict(keep_vars=True).items():
            if not any(name.startswith(f"{part}.") for part in fresh):
                tensor.data = tensors[name].data
    device = model.clip.logit_scale.device
    for part in fresh:
        for module in ablated.get_submodule(part).modules():
            if isinstance(module, nn.Conv2d | nn.GroupNorm | LearnableStep):
                module.reset_parameters()
    if isinstance(ablated.captioner, EmptyCaptioner):
        for parameter in ablated.captioner.unread():
            parameter.data = torch.zeros_like(parameter)
    return ablated.to(device).train(model.training)


def new_parts(ablation: Ablation) -> list[str]:
    """Paths of the modules that the paper's model does not have, or not of this size."""
    if ablation.features == "clip":
        return ["backbone.feature_projections"]
    # Projections of the UNet's features; the autoencoder runs once whatever the steps.
    parts = [f"backbone.feature_projections.{index}" for index in range(2, 6)] if ablation.runs > 1 else []
    return [*parts, "backbone.diffusion.step"] if ablation.time_steps == LEARNABLE else parts
