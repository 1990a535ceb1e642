"""MaskCLIP (arXiv 2208.08984): a CLIP image embedding of every mask, in one pass over the image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from reference.model.attention import BLOCKED
from reference.model.clip import Clip, advance, key_value


class ClipPool(nn.Module):
    """Mask tokens that start as CLS and attend to CLS and to the patches under their mask.

    No token attends to a mask token. So the image tokens pass the plain vision transformer, and in every
    layer the mask tokens attend to their keys and values. The official code computes the same with one
    sequence of Q + 1 + N tokens and a large attention mask.

    The image has no padding, the masks include the padding to multiples of 64, and both are resized to the
    same square. They are misaligned wherever there is padding. The official model does the same, and the
    fusion of its two classifiers was tuned to it.

    Shapes:
        clip_image (1, 3, I, I)        RGB in [0, 1], resized by the caller (bilinear, no antialiasing)
        pred_masks (1, Q, H/4, W/4)    logits
        ->  clip_mask_embed (1, Q, E)  not normalised
    """

    def __init__(self, clip: Clip) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, clip_image: Tensor, pred_masks: Tensor) -> Tensor:
        """See the class."""
        return self.pool(clip_image, self.open_patches(pred_masks))

    def open_patches(self, pred_masks: Tensor) -> Tensor:
        """1.0 where a mask touches a patch, else 0.0: (1, Q, N), fp32, patches in row-major order."""
        side, patch = self.clip.preset.image_size, self.clip.preset.patch_size
        masks = F.interpolate(pred_masks.float(), size=(side, side), mode="bilinear", align_corners=False)
        strongest = F.max_pool2d(masks, kernel_size=patch, stride=patch).sigmoid()
        return (strongest >= 0.5).float().flatten(2)

    def pool(self, clip_image: Tensor, open_patches: Tensor) -> Tensor:
        """`clip_mask_embed` (1, Q, E) from the patches each mask may attend to (1, Q, N)."""
        *layers, last = self.clip.visual.transformer.resblocks
        tokens = self.clip.image_tokens(clip_image)
        masks = tokens[:, :1].expand(-1, open_patches.shape[1], -1)
        # A mask may always attend to CLS, in the first column.
        blocked = F.pad((1.0 - open_patches) * BLOCKED, (1, 0)).unsqueeze(1).to(tokens.dtype)
        for layer in layers:
            key, value = key_value(layer, tokens)
            masks = advance(layer, masks, key, value, mask=blocked)
            tokens = advance(layer, tokens, key, value)
        # Only the mask tokens are used, so the image tokens skip the last layer.
        return self.clip.project(advance(last, masks, *key_value(last, tokens), mask=blocked))
