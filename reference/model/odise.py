"""The whole ODISE model: its stages under the official parameter names, and `segment`."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from odise_trt.vocabulary import Vocabulary
from odise_trt.vocabulary.seen import seen_in
from reference.model import open_vocabulary as texts
from reference.model import postprocess
from reference.model.ablations.clip_backbone import ClipBackbone
from reference.model.ablations.clip_crops import embed_crops
from reference.model.backbone import Backbone
from reference.model.captioner import Captioner
from reference.model.class_weights import ClassWeights
from reference.model.clip import Clip
from reference.model.clip_pool import ClipPool
from reference.model.clock import Clock, untimed
from reference.model.mask_head import MaskHead, MaskHeadOutput
from reference.model.open_vocabulary import CategoryHead, Classification, EncodedTexts, Labels, WordHead
from reference.model.segmentation import Segmentation
from reference.model.windows import image_features
from reference.preset import Preset

#: Texts encoded at a time: a long vocabulary in one batch would take gigabytes.
TEXT_BATCH = 256


class ODISE(nn.Module):
    """Open-vocabulary diffusion-based panoptic segmentation (arXiv 2303.04803).

    The trainable modules have the official names. The exporter exports the stages `captioner`,
    `features`, `mask_head`, `clip_pool` and `text_encoder` one by one.
    """

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.preset = preset
        self.train_labels = training_labels(preset)
        clip = Clip(preset.clip)
        self.backbone = (ClipBackbone if preset.ablation.features == "clip" else Backbone)(preset, clip)
        self.sem_seg_head = MaskHead(preset)
        sizes = preset.clip.embed_dim, preset.head.mask_dim
        if preset.kind == "label":
            self.category_head = CategoryHead(*sizes)
            self.criterion = ClassWeights(len(self.train_labels))
        else:
            self.word_head = WordHead(*sizes)
            self.criterion = ClassWeights(1)
        self.clip_head = ClipPool(clip)

    @property
    def clip(self) -> Clip:
        """The CLIP that the captioner, the text encoder and the mask pooling share."""
        return self.clip_head.clip

    @property
    def captioner(self) -> Captioner:
        """windows -> (cond_inputs, cond_emb)."""
        return self.backbone.feature_extractor

    @property
    def features(self) -> Backbone:
        """windows, cond_inputs, cond_emb -> (s2, s3, s4, s5)."""
        return self.backbone

    @property
    def mask_head(self) -> MaskHead:
        """s2, s3, s4, s5 -> MaskHeadOutput."""
        return self.sem_seg_head

    @property
    def clip_pool(self) -> ClipPool:
        """clip_image, pred_masks -> clip_mask_embed."""
        return self.clip_head

    @property
    def text_head(self) -> CategoryHead | WordHead:
        """The head that projects texts."""
        return self.category_head if self.preset.kind == "label" else self.word_head

    def text_encoder(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens int64 (N, 77) -> clip_text_embed (N, E), not normalised, and text_embed (N, D)."""
        clip_text_embed = self.clip.embed_text(tokens)
        return clip_text_embed, self.text_head.text_proj(clip_text_embed)

    @torch.no_grad()
    def encode(self, labels: Labels | EncodedTexts) -> EncodedTexts:
        """Embed every synonym of every category. Encoded texts are returned unchanged."""
        if isinstance(labels, EncodedTexts):
            return labels
        preset = self.preset
        names_embed, text_embed = self._embed(texts.prompted(labels, preset.category_prompt))
        clip_text_embed, _ = self._embed(texts.prompted(labels, preset.clip_prompt))
        return EncodedTexts(tuple(map(tuple, labels)), names_embed, text_embed, clip_text_embed)

    @torch.no_grad()
    def segment(
        self,
        image: Tensor,
        labels: Labels | EncodedTexts,
        things: Collection[int],
        out_hw: tuple[int, int] | None = None,
        *,
        overlap_threshold: float | None = None,
        batch: int | None = None,
        clock: Clock = untimed,
    ) -> Segmentation:
        """Segment one image at its own size. `reference.inference.segment_photo` resizes a photo first.

        Args:
            image: uint8 (H, W, 3) or (3, H, W), RGB.
            labels: categories with their synonyms, or the result of `encode`.
            things: indices of the thing categories; each of their objects is a segment of its own.
            out_hw: height and width of the results. Default: those of the image.
            overlap_threshold: see `postprocess.panoptic`. None: the preset's.
            batch: number of windows that run at once. None: all of them.
            clock: times the stages.
        """
        encoded = self.encode(labels)
        planes = as_planes(image)
        pyramid = image_features(self.backbone, self.pad(planes), clock, batch=batch)
        with clock("mask_head"):
            head = self.mask_head(*pyramid)
        with clock("clip_pool"):
            mask_cls = self.classify(planes, head, encoded).mask_cls[0]
        with clock("postprocess"):
            return self.results(planes, head, mask_cls, things, out_hw, overlap_threshold=overlap_threshold)

    def results(
        self,
        planes: Tensor,
        head: MaskHeadOutput,
        mask_cls: Tensor,
        things: Collection[int],
        out_hw: tuple[int, int] | None = None,
        *,
        overlap_threshold: float | None = None,
    ) -> Segmentation:
        """Resize the masks to the size of the result; the last part of `segment`.

        The arguments `things`, `out_hw` and `overlap_threshold` are those of `segment`.

        Args:
            planes: (1, 3, H, W), the image in [0, 1], without padding.
            head: the masks of the padded image.
            mask_cls: (Q, K+1) class log-probabilities, from `classify`.
        """
        image_hw = planes.shape[2], planes.shape[3]
        padded = self.pad(planes)
        padded_hw = padded.shape[2], padded.shape[3]
        mask_pred = postprocess.resize_masks(head.pred_masks[0], padded_hw, image_hw, out_hw or image_hw)
        preset = self.preset
        return Segmentation(
            mask_cls=mask_cls,
            mask_pred=mask_pred,
            things=frozenset(things),
            topk=preset.topk_per_image,
            object_mask_threshold=preset.object_mask_threshold,
            overlap_threshold=preset.overlap_threshold if overlap_threshold is None else overlap_threshold,
        )

    def pad(self, planes: Tensor) -> Tensor:
        """Zero-pad (1, 3, H, W) at the bottom and right to multiples of `preset.divisor`."""
        height, width = planes.shape[-2:]
        divisor = self.preset.divisor
        return F.pad(planes, (0, -width % divisor, 0, -height % divisor))

    @torch.no_grad()
    def classify(self, image: Tensor, head: MaskHeadOutput, encoded: EncodedTexts) -> Classification:
        """Compare the masks of an image with texts.

        Args:
            image: (1, 3, H, W), RGB in [0, 1], without padding; see `ClipPool` for why.
            head: the masks of the padded image.
            encoded: the texts.
        """
        preset, labels = self.preset, encoded.labels
        scale = self.mask_head.predictor.post_mask_embed.scale()
        logits = texts.best_synonym(texts.similarity(head.mask_embed, encoded.text_embed, scale), labels)

        side = preset.clip.image_size
        clip_image = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
        open_patches = self.clip_pool.open_patches(head.pred_masks)
        if preset.ablation.clip_masks == "pool":
            mask_embed = self.clip_pool.pool(clip_image, open_patches)
        else:
            masked = preset.ablation.clip_masks == "crop-masked"
            mask_embed = embed_crops(self.clip, image, head.pred_masks, masked=masked)
        clip_logits = texts.similarity(mask_embed, encoded.clip_text_embed, self.clip.scale())
        clip_logits = texts.best_synonym(clip_logits, labels)

        seen = torch.tensor(seen_in(labels, self.train_labels), device=logits.device)
        fused = texts.fuse(logits, clip_logits, seen, preset.alpha, preset.beta)
        if head.pred_logits is None:
            null = texts.similarity(head.mask_embed, self.category_head.null(), scale)
            logits = torch.cat([logits, null], dim=-1)
            void = logits.softmax(-1)[..., -1:]
        else:
            void = head.pred_logits.softmax(-1)[..., 1:]
        mask_cls = texts.with_void(fused, void)
        return Classification(logits, open_patches, mask_embed, clip_logits, fused, mask_cls)

    def _embed(self, names: list[str]) -> tuple[Tensor, Tensor]:
        tokens = texts.tokenize(names, self.preset.clip.context_length)
        tokens = tokens.to(self.clip.positional_embedding.device)
        clip_text_embed, text_embed = zip(*map(self.text_encoder, tokens.split(TEXT_BATCH)), strict=True)
        return torch.cat(clip_text_embed), torch.cat(text_embed)


def as_planes(image: Tensor) -> Tensor:
    """uint8 (H, W, 3) or (3, H, W) -> float32 (1, 3, H, W) in [0, 1]."""
    return (image.permute(2, 0, 1) if image.shape[2] == 3 else image)[None].float() / 255


def training_labels(preset: Preset) -> Labels:
    """The categories a preset was trained on, with their synonyms."""
    if isinstance(preset.train_labels, str):
        return Vocabulary.preset(preset.train_labels).synonyms
    return preset.train_labels
