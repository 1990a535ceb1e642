"""Makes an ablated model from a model that has weights."""

from __future__ import annotations

import torch
from torch import nn

from reference.ablation import LEARNABLE, Ablation
from reference.model.ablations.given_captions import EmptyCaptioner
from reference.model.ablations.time_steps import LearnableStep
from reference.model.allocation import SkipInitialisation
from reference.model.odise import ODISE


def ablate(model: ODISE, ablation: Ablation) -> ODISE:
    """Return the ablated model, with the weights of `model` in every part that both have.

    The two models share their tensors, which saves memory; do not use `model` afterwards. Parts that `model`
    lacks start with the initial values of PyTorch and need training: projections with other inputs, and the
    learnable step. To load the weights of a model that was trained with an ablation, call
    `load_weights(preset.with_ablation(ablation), path)`.

    Args:
        model: the paper's model.
        ablation: the changes.

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
    """Return the paths of modules that the paper's model lacks or has in another size."""
    if ablation.features == "clip":
        return ["backbone.feature_projections"]
    # Projections of the UNet's features. The autoencoder runs once for any number of steps.
    parts = [f"backbone.feature_projections.{index}" for index in range(2, 6)] if ablation.runs > 1 else []
    return [*parts, "backbone.diffusion.step"] if ablation.time_steps == LEARNABLE else parts
