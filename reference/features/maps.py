"""The diffusion features of a whole photo, computed in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from odise_trt.errors import FeatureError
from odise_trt.extraction import facts_of, image_sides, within
from odise_trt.features import Features
from odise_trt.features.names import PROJECTED, RAW, requested
from reference.inference import resized_to
from reference.model import ODISE
from reference.model.backbone import PYRAMID
from reference.model.bicubic import resize_bicubic
from reference.model.diffusion import STRIDES
from reference.model.raw_features import RawFeatures, fitted
from reference.model.windows import extract_windows, stitch

Caption = Literal["implicit", "empty"]


@torch.no_grad()
def feature_maps(
    model: ODISE,
    photo: np.ndarray,
    names: str | Iterable[str] | None = None,
    *,
    short_side: int | None = None,
    max_side: int | None = None,
    time_step: int = 0,
    caption: Caption = "implicit",
    batch: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Features:
    """Return feature maps of a photo: raw features, and the projected pyramid that the mask head takes.

    Windows are joined as in the model. At step 0 with the implicit caption, the features are those that the
    model segments with.

    Args:
        model: in evaluation mode, with diffusion features.
        photo: uint8 (H, W, 3).
        names: of `odise_trt.features.names.RAW` (enc5 to dec5) and `PROJECTED` (s2 to s5). None: all that
            there are at this time step and with this caption.
        short_side, max_side: the shorter side of the resized photo, and the most that its longer side may
            have. None: as `Segmenter.features`.
        time_step: the diffusion step, 0 to 999. The projections are trained at step 0, so there is no pyramid
            at others. A model that is ablated to other steps uses its own.
        caption: what the UNet is told: "implicit", by the captioner, or "empty", the caption "". The
            projections are trained with the implicit caption, so the empty one gives no pyramid.
        batch: number of windows that run at once. None: all of them.
        facts: further entries of `Features.facts`.

    Returns:
        Each map float32 (C, h, w), see `Features`.

    Raises:
        FeatureError: a name or the time step does not exist, or the request contradicts itself or the model.
        ArgumentError: a side is out of range.
    """
    preset = model.preset
    chosen = requested(names, time_step, caption=caption)
    if preset.ablation.features != "diffusion":
        raise FeatureError("this model reads no diffusion features", "leave out --features clip")
    if time_step and preset.ablation.time_steps != (0,):
        raise FeatureError("this model is ablated and has time steps of its own", "leave the time step out")
    short, longest = image_sides(short_side, max_side, preset.short_side, preset.max_side)
    resized, image_size = resized_to(photo, short, longest)
    size = resized.shape[0], resized.shape[1]
    padded = model.pad(resized.permute(2, 0, 1)[None].float() / 255)
    windows, origins = extract_windows(padded.to(model.clip.logit_scale.device), preset.window)
    parts = [
        _of_windows(model, some, chosen, time_step, caption) for some in windows.split(batch or len(windows))
    ]
    strides = {name: stride for name, stride in _STRIDES.items() if name in chosen}
    joined = {
        name: stitch(torch.cat([part[name] for part in parts]), origins, strides[name], *padded.shape[-2:])[0]
        for name in chosen
    }
    return Features(
        maps={name: within(values.cpu().numpy(), size, strides[name]) for name, values in joined.items()},
        strides={name: strides[name] for name in chosen},
        size=size,
        image_size=image_size,
        facts={
            "time_step": time_step,
            "caption": caption,
            "preset": preset.name,
            **facts_of(photo, photo),
            **(facts or {}),
        },
    )


_STRIDES = dict(zip((*RAW, *PROJECTED), (*STRIDES, *PYRAMID), strict=True))


def _of_windows(
    model: ODISE, windows: Tensor, names: tuple[str, ...], time_step: int, caption: Caption
) -> dict[str, Tensor]:
    """Return the named features of windows (W, 3, S, S), each (W, C, S/stride, S/stride)."""
    backbone, captioner, side = model.backbone, model.captioner, windows.shape[-1]
    given = captioner(windows) if caption == "implicit" else captioner.unconditional(len(windows))
    cond_inputs, cond_emb = given
    enlarged = resize_bicubic(windows, backbone.window)
    if time_step:
        step = torch.tensor([time_step], device=windows.device)
        raw = RawFeatures(backbone).to(windows.device).at_step(enlarged, cond_inputs, cond_emb, step)
    else:
        raw = backbone.diffusion(enlarged, cond_inputs, cond_emb)
    found = dict(zip(RAW, fitted(raw, side), strict=True))
    if any(name in PROJECTED for name in names):
        found |= zip(PROJECTED, backbone.project(raw, side), strict=True)
    return {name: found[name] for name in names}
