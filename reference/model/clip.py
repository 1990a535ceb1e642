"""CLIP (arXiv 2103.00020) with a vision transformer, on open_clip's modules and weights.

The forward passes are written out here. So the same transformer layers compute the image embedding, the text
embedding and MaskCLIP's mask tokens; they export to plain operators, and unused results are not computed.
"""

from __future__ import annotations

from typing import Any

from reference import torchvision_free  # noqa: F401

# isort: split
import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import Tensor
from torch.nn import functional as F

from reference.model.attention import BLOCKED, attention, merge_heads, split_heads
from reference.preset import ClipPreset

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Clip(open_clip.CLIP):
    """A frozen CLIP with QuickGELU, under open_clip's parameter names.

    Shapes:
        image (B, 3, I, I) RGB in [0, 1]  ->  image_embed (B, E)
        tokens int64 (N, 77)              ->  clip_text_embed (N, E)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preset: ClipPreset) -> None:
        super().__init__(
            preset.embed_dim,
            vision_cfg=CLIPVisionCfg(
                layers=preset.vision_layers,
                width=preset.vision_width,
                head_width=preset.vision_width // preset.vision_heads,
                patch_size=preset.patch_size,
                image_size=preset.image_size,
            ),
            text_cfg=CLIPTextCfg(
                context_length=preset.context_length,
                vocab_size=preset.vocab_size,
                width=preset.text_width,
                heads=preset.text_heads,
                layers=preset.text_layers,
            ),
            quick_gelu=True,
        )
        self.preset = preset
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def scale(self) -> Tensor:
        """Return the factor of cosine similarities: min(exp(logit_scale), 100), a scalar."""
        return self.logit_scale.exp().clamp(max=100.0)

    def normalise(self, image: Tensor) -> Tensor:
        """Normalise RGB in [0, 1] by the mean and deviation of CLIP's training images."""
        return (image - self.mean) / self.std

    def image_tokens(self, image: Tensor) -> Tensor:
        """Return the tokens before the first layer: CLS, then patches in row-major order, (B, 1 + N, width).

        Args:
            image: (B, 3, I, I), RGB in [0, 1].
        """
        visual = self.visual
        patches = visual.conv1(self.normalise(image)).flatten(2).transpose(1, 2)
        cls = visual.class_embedding.expand(patches.shape[0], 1, -1)
        return visual.ln_pre(torch.cat((cls, patches), dim=1) + visual.positional_embedding)

    def project(self, tokens: Tensor) -> Tensor:
        """Project tokens after the last vision layer into the space shared with texts, (..., E)."""
        return self.visual.ln_post(tokens) @ self.visual.proj

    def embed_image(self, image: Tensor) -> Tensor:
        """Embed `image` (B, 3, I, I) in [0, 1]: `image_embed` (B, E), not normalised."""
        *layers, last = self.visual.transformer.resblocks
        tokens = self.image_tokens(image)
        for layer in layers:
            tokens = advance(layer, tokens, *key_value(layer, tokens))
        # Only CLS is used, so only CLS passes the last layer.
        return self.project(advance(last, tokens[:, :1], *key_value(last, tokens)))[:, 0]

    def embed_text(self, tokens: Tensor) -> Tensor:
        """Embed `tokens` int64 (N, 77), padded with zeros: `clip_text_embed` (N, E), not normalised."""
        x = self.text_states(tokens)
        # The end-of-text token has the highest id of the vocabulary.
        end = tokens.argmax(dim=1).view(-1, 1, 1).expand(-1, 1, x.shape[-1])
        return self.ln_final(x.gather(1, end)[:, 0]) @ self.text_projection

    def text_states(self, tokens: Tensor) -> Tensor:
        """Return the state of every token after the last text layer, before the norm: (N, L, text width).

        Args:
            tokens: int64 (N, L). Attention is causal, so omitting the padding changes no token before it.
        """
        length = tokens.shape[1]
        causal = torch.full((length, length), BLOCKED, device=tokens.device).triu(1)
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        for layer in self.transformer.resblocks:
            x = advance(layer, x, *key_value(layer, x), mask=causal)
        return x


def key_value(layer: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values of a transformer layer for `tokens` (B, N, width), each (B, heads, N, d)."""
    attn, width = layer.attn, tokens.shape[-1]
    both = F.linear(layer.ln_1(tokens), attn.in_proj_weight[width:], attn.in_proj_bias[width:])
    key, value = both.chunk(2, dim=-1)
    return split_heads(key, attn.num_heads), split_heads(value, attn.num_heads)


def advance(layer: Any, tokens: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Apply a transformer layer to `tokens` (B, N, width), which attend to `key` and `value`."""
    attn, width = layer.attn, tokens.shape[-1]
    query = F.linear(layer.ln_1(tokens), attn.in_proj_weight[:width], attn.in_proj_bias[:width])
    read = attention(split_heads(query, attn.num_heads), key, value, mask)
    tokens = tokens + attn.out_proj(merge_heads(read))
    return tokens + layer.mlp(layer.ln_2(tokens))
