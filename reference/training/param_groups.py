"""Which parameters are trained, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.table import Table
from torch import nn

from reference.model.ablations.time_steps import LearnableStep
from reference.training.config import TrainConfig

#: Parts of the model by the beginning of a parameter's name; the first that fits holds.
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
    """The parts of a model, those that are trained first; a parameter that is shared counts once."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        part = next((part for prefix, part in _PARTS if name.startswith(prefix)), name.partition(".")[0])
        counts.setdefault(part, [0, 0])[0 if parameter.requires_grad else 1] += parameter.numel()
    parts = [Part(name, *numbers) for name, numbers in counts.items()]
    return tuple(sorted(parts, key=lambda part: part.trainable == 0))


def total(parts: Iterable[Part]) -> Part:
    """The sum of the parts."""
    parts = tuple(parts)
    return Part("total", sum(part.trainable for part in parts), sum(part.frozen for part in parts))


def rendered(parts: Iterable[Part], title: str) -> Table:
    """The table for the console."""
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
    """The trainable parameters with and without weight decay, for `torch.optim.AdamW`.

    As in the official code: detectron2's rule with `weight_decay_norm` and `weight_decay_bias` zero. That
    one goes by the last part of a name, so `in_proj_bias` decays; and Mask2Former's exception for
    embeddings is not in it. A learnt time step has no decay either: zero is step 500, not "small".
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
