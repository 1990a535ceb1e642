"""The trainable parameters of a model: a table, and the groups of the optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.table import Table
from torch import nn

from reference.model.ablations.time_steps import LearnableStep
from reference.training.config import TrainConfig

#: Parts of the model by the prefix of a parameter's name; the first match applies.
_PARTS = (
    ("backbone.feature_extractor.clip.", "CLIP"),
    ("backbone.feature_extractor.", "implicit captioner"),
    ("backbone.feature_projections.", "feature projections"),
    ("backbone.diffusion.step.", "diffusion step"),
    ("backbone.diffusion.unet.", "UNet"),
    ("backbone.diffusion.vae.", "VAE"),
    ("backbone.diffusion.cond_stage.", "text encoder of Stable Diffusion"),
    ("sem_seg_head.pixel_decoder.", "pixel decoder"),
    ("sem_seg_head.predictor.", "mask decoder"),
    ("category_head.", "category head"),
    ("word_head.", "word head"),
)


class Part(NamedTuple):
    """Number of parameters of a part of the model."""

    name: str
    trainable: int
    frozen: int


def parameter_table(model: nn.Module) -> tuple[Part, ...]:
    """Count the parameters per part of a model, trained parts first. A shared parameter counts once."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        part = next((part for prefix, part in _PARTS if name.startswith(prefix)), name.partition(".")[0])
        counts.setdefault(part, [0, 0])[0 if parameter.requires_grad else 1] += parameter.numel()
    parts = [Part(name, *numbers) for name, numbers in counts.items()]
    return tuple(sorted(parts, key=lambda part: part.trainable == 0))


def total(parts: Iterable[Part]) -> Part:
    """Sum up the parts."""
    parts = tuple(parts)
    return Part("total", sum(part.trainable for part in parts), sum(part.frozen for part in parts))


def rendered(parts: Iterable[Part], title: str) -> Table:
    """Format the parts as a table for the console."""
    parts = tuple(parts)
    table = Table("part", title=title, title_justify="left")
    for column in ("trainable", "frozen"):
        table.add_column(column, justify="right")
    for part in parts:
        table.add_row(part.name, _number(part.trainable), _number(part.frozen))
    table.add_section()
    whole = total(parts)
    table.add_row(whole.name, _number(whole.trainable), _number(whole.frozen))
    share = f"{whole.trainable / 1e6:,.1f}M of {(whole.trainable + whole.frozen) / 1e6:,.1f}M are trained"
    table.caption, table.caption_justify = share, "left"
    return table


def optimizer_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Group the trainable parameters for `torch.optim.AdamW`: with and without weight decay.

    The official code has detectron2's rule, with `weight_decay_norm` and `weight_decay_bias` zero. The rule
    reads the last part of a name, so `in_proj_bias` decays. It has no exception for embeddings, unlike
    Mask2Former. A learnable time step has no decay either, because its zero is step 500.
    """
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    seen: set[int] = set()
    for module in model.modules():
        constant = isinstance(module, nn.GroupNorm | nn.LayerNorm | LearnableStep)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                groups[constant or name == "bias"].append(parameter)
    return [
        {"params": groups[False], "weight_decay": config.weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


def _number(count: int) -> str:
    return f"{count:,}" if count else "-"
