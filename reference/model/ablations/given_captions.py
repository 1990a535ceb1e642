"""Captioners that do not read the image: the empty caption, and given captions (ablations).

Both keep the parameters of the implicit captioner, frozen and unused, so that weights of the paper's model
fit. Neither of them shifts the time embedding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reference.errors import AblationError
from reference.model.captioner import Captioner
from reference.model.clip import Clip
from reference.model.open_vocabulary import tokenize
from reference.preset import Preset


class EmptyCaptioner(Captioner):
    """Gives every window the caption "".

    Shapes: as `Captioner`.
    """

    def __init__(self, preset: Preset, clip: Clip) -> None:
        super().__init__(preset, clip)
        self.requires_grad_(False)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """(cond_inputs, cond_emb) of a batch of windows."""
        return self.unconditional(len(windows))

    def unread(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the implicit captioner, which are unused here."""
        yield self.alpha_cond
        yield self.alpha_cond_time_embed
        yield from self.clip_project.parameters()
        yield from self.time_embed_project.parameters()


class GivenCaptioner(EmptyCaptioner):
    """Uses captions that are given with the images, written by people or by a captioning model.

        with model.captioner.given(["a cat on a sofa"]):
            model.segment(image, ...)

    The text encoder is Stable Diffusion's, or CLIP's if the preset has none.

    Shapes: as `Captioner`.
    """

    def __init__(self, preset: Preset, clip: Clip, cond_stage: nn.Module | None) -> None:
        super().__init__(preset, clip)
        width = preset.clip.text_width if preset.cond_stage is None else preset.cond_stage.width
        read = preset.unet.context_dim
        if width != read:
            raise AblationError(
                f"the texts of preset {preset.name!r} are {width} wide, its UNet reads {read}",
                "captions can be given where both are the same",
            )
        # Any: the result of transformers' class has no type.
        self.cond_stage: Any = cond_stage
        self._captions: tuple[str, ...] = ()

    @contextmanager
    def given(self, captions: Sequence[str]) -> Iterator[None]:
        """Give the captions of the images that run in this context, one per image of a batch.

        With activation checkpointing, run the backward pass in the context as well.

        Raises:
            AblationError: contexts are nested, or there is no caption.
        """
        if isinstance(captions, str) or not captions or self._captions:
            raise AblationError(
                "captions are given once for a batch, one for every image", "give a list of sentences"
            )
        self._captions = tuple(captions)
        try:
            yield
        finally:
            self._captions = ()

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return (cond_inputs, cond_emb) of a batch of windows, image by image.

        Raises:
            AblationError: no captions are given, or not one for every image.
        """
        if not self._captions:
            raise AblationError(
                "this model is told what is in an image, and was not",
                "run it in `with captioner.given(...)`",
            )
        per_image, rest = divmod(len(windows), len(self._captions))
        if rest or not per_image:
            raise AblationError(
                f"{len(self._captions)} captions for {len(windows)} windows", "give one caption per image"
            )
        _, unshifted = self.unconditional(len(windows))
        return self.encode(self._captions).repeat_interleave(per_image, dim=0), unshifted

    @torch.no_grad()
    def encode(self, captions: Sequence[str]) -> Tensor:
        """Embed captions, each truncated to 77 tokens: (N, 77, C)."""
        tokens = tokenize(captions, self.clip.preset.context_length).to(self.uncond_inputs.device)
        if self.cond_stage is None:
            return self.clip.ln_final(self.clip.text_states(tokens))
        # Stable Diffusion's tokenizer pads with the end of text, the highest id; CLIP's pads with zeros.
        end = tokens.argmax(dim=1, keepdim=True)
        after = torch.arange(tokens.shape[1], device=tokens.device) > end
        tokens = torch.where(after, tokens.amax(dim=1, keepdim=True), tokens)
        return self.cond_stage(tokens).last_hidden_state
