"""The feature pyramid from CLIP instead of the diffusion model (ablation)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.backbone import PYRAMID, Backbone
from reference.model.bicubic import resize_bicubic
from reference.model.clip import Clip, advance, key_value
from reference.model.projections import Bottleneck
from reference.preset import Preset


class ClipBackbone(Backbone):
    """Patch tokens of a frozen CLIP at four depths, shallow ones for the fine levels of the pyramid.

    It has no diffusion model and needs no condition, so `feature_extractor` returns an empty tuple. Then
    `backbone(windows, *backbone.feature_extractor(windows))` is the same call for both backbones.

    Shapes:
        windows (W, 3, S, S)  RGB in [0, 1], S <= P
        -> s2 (W, Cp, S/4, S/4), s3 (W, Cp, S/8, S/8), s4 (W, Cp, S/16, S/16), s5 (W, Cp, S/32, S/32)
    """

    def __init__(self, preset: Preset, clip: Clip) -> None:
        nn.Module.__init__(self)
        self.window = preset.window
        self.feature_extractor = _Silent(clip)  # type: ignore[assignment]
        width, projected = preset.clip.vision_width, preset.head.projection_dim
        self.feature_projections = nn.ModuleList(nn.Sequential(Bottleneck(width, projected)) for _ in PYRAMID)
        layers = preset.clip.vision_layers
        #: Numbers of the layers whose tokens are used, from 1.
        self.depths = tuple(-(-layers * part // len(PYRAMID)) for part in range(1, len(PYRAMID) + 1))

    @property
    def clip(self) -> Clip:
        """The frozen CLIP."""
        return self.feature_extractor.clip

    def forward(self, windows: Tensor, *conditions: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return self.project(self.raw(windows), windows.shape[-1])

    def raw(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Return the patch tokens after four layers as maps, each (W, vision width, I/patch, I/patch)."""
        # The captioner resizes windows in the same two steps.
        image = resize_bicubic(resize_bicubic(windows, self.window), self.clip.preset.image_size)
        tokens = self.clip.image_tokens(image)
        side = self.clip.preset.image_size // self.clip.preset.patch_size
        maps = []
        for layer in self.clip.visual.transformer.resblocks:
            tokens = advance(layer, tokens, *key_value(layer, tokens))
            maps.append(tokens[:, 1:].mT.unflatten(2, (side, side)))
        return tuple(maps[depth - 1] for depth in self.depths)

    def project(self, raw: tuple[Tensor, ...], side: int) -> tuple[Tensor, ...]:
        """Make the pyramid of windows of `side` pixels from the four raw features.

        Resizing is bilinear, because the size of a patch fits none of the strides. Diffusion features are
        resized to the nearest pixel.
        """
        pyramid = []
        for feature, stride, projection in zip(raw, PYRAMID, self.feature_projections, strict=True):
            size = (side // stride, side // stride)
            resized = F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
            pyramid.append(projection(resized))
        return tuple(pyramid)


class _Silent(nn.Module):
    """Takes the place of the captioner and returns no condition. The official files have the CLIP here."""

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, windows: Tensor) -> tuple[()]:
        return ()
