"""The backbone: from windows of an image to the feature pyramid of the mask head."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.ablations.given_captions import EmptyCaptioner, GivenCaptioner
from reference.model.ablations.time_steps import SteppedDiffusion
from reference.model.bicubic import resize_bicubic
from reference.model.captioner import Captioner
from reference.model.clip import Clip
from reference.model.diffusion import STRIDES, Diffusion, raw_channels
from reference.model.projections import Bottleneck
from reference.preset import Preset

#: Strides of s2, s3, s4, s5. A raw feature belongs to the nearest of them.
PYRAMID = (4, 8, 16, 32)


class Backbone(nn.Module):
    """Diffusion features, projected to the same width and summed per stride.

    Shapes:
        windows      (W, 3, S, S)  RGB in [0, 1], S <= P
        cond_inputs  (W, 77, C)    of the captioner, `feature_extractor`
        cond_emb     (W, T)
        -> s2 (W, Cp, S/4, S/4), s3 (W, Cp, S/8, S/8), s4 (W, Cp, S/16, S/16), s5 (W, Cp, S/32, S/32)
    """

    def __init__(self, preset: Preset, clip: Clip) -> None:
        super().__init__()
        self.window = preset.window
        diffusion = (Diffusion if preset.ablation.time_steps == (0,) else SteppedDiffusion)(preset)
        self.feature_extractor = _captioner(preset, clip, diffusion)
        self.diffusion = diffusion
        self.feature_projections = nn.ModuleList(
            nn.Sequential(Bottleneck(channels, preset.head.projection_dim))
            for channels in raw_channels(preset)
        )

    def forward(self, windows: Tensor, cond_inputs: Tensor, cond_emb: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        raw = self.diffusion(resize_bicubic(windows, self.window), cond_inputs, cond_emb)
        return self.project(raw, windows.shape[-1])

    def project(self, raw: tuple[Tensor, ...], side: int) -> tuple[Tensor, ...]:
        """Make the pyramid of windows of `side` pixels from their eight raw features."""
        pyramid: dict[int, Tensor] = {}
        for feature, nominal, projection in zip(raw, STRIDES, self.feature_projections, strict=True):
            stride = min(max(nominal, PYRAMID[0]), PYRAMID[-1])
            size = (side // stride, side // stride)
            projected = projection(F.interpolate(feature, size=size, mode="nearest"))
            pyramid[stride] = projected if stride not in pyramid else pyramid[stride] + projected
        return tuple(pyramid[stride] for stride in PYRAMID)


def _captioner(preset: Preset, clip: Clip, diffusion: Diffusion) -> Captioner:
    if preset.ablation.captioner == "given":
        return GivenCaptioner(preset, clip, diffusion.cond_stage)
    return (EmptyCaptioner if preset.ablation.captioner == "empty" else Captioner)(preset, clip)
