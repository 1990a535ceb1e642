"""The Mask2Former head of ODISE: from the feature pyramid to masks and their embeddings."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from reference.model.deformable_attention import DeformableAttention, Lowering
from reference.model.mask_decoder import MaskDecoder, Prediction
from reference.model.pixel_decoder import PixelDecoder
from reference.preset import Preset


class MaskHeadOutput(NamedTuple):
    """Result of `MaskHead`.

    Attributes:
        pred_masks: (B, Q, H/4, W/4) logits, at least float32.
        mask_embed: (B, Q, D), at least float32.
        pred_logits: (B, Q, 2), object and no object; None for label models.
        aux: the predictions before the last one; empty unless requested.
    """

    pred_masks: Tensor
    mask_embed: Tensor
    pred_logits: Tensor | None
    aux: tuple[Prediction, ...]

    @classmethod
    def of(cls, predictions: list[Prediction]) -> MaskHeadOutput:
        """Return the last prediction, with the earlier ones as `aux`."""
        *aux, last = predictions
        return cls(last.pred_masks, last.mask_embed, last.pred_logits, tuple(aux))


class MaskHead(nn.Module):
    """Pixel decoder and mask decoder (the official `sem_seg_head`)."""

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(preset.head)
        self.predictor = MaskDecoder(preset.head, preset.kind)

    def forward(
        self,
        s2: Tensor,
        s3: Tensor,
        s4: Tensor,
        s5: Tensor,
        *,
        aux: bool = False,
        resize_masks: bool = False,
    ) -> MaskHeadOutput:
        """Predict.

        Args:
            s2, s3, s4, s5: (B, projection_dim, H/k, W/k) with k = 4, 8, 16, 32.
            aux: also return the intermediate predictions, for training.
            resize_masks: see `MaskDecoder`.
        """
        pixels = self.pixel_decoder(s2, s3, s4, s5)
        return MaskHeadOutput.of(self.predictor(pixels, aux=aux, resize_masks=resize_masks))

    def use_lowering(self, lowering: Lowering) -> None:
        """Select how deformable attention samples, see `DeformableAttention`."""
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.lowering = lowering
