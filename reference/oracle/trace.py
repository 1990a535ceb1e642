"""Records every intermediate tensor of a segmentation.

The names are those of the golden files: `w0.` is the first window, `w1.` the second, row by row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from reference.model import ODISE, Segmentation
from reference.model.backbone import Backbone
from reference.model.bicubic import resize_bicubic
from reference.model.mask_head import MaskHead, MaskHeadOutput
from reference.model.open_vocabulary import Classification, EncodedTexts
from reference.model.windows import Origin, extract_windows, join
from reference.oracle import official_pass

#: "official" runs window by window and computes results that the model never uses, as the official code does.
#: "pruned" skips them and batches the windows, as `ODISE` does. The results agree within rounding.
Way = Literal["official", "pruned"]
#: Every intermediate tensor by its name.
Taps = dict[str, Tensor]


def traced_official(backbone: Backbone, image: Tensor, taps: Taps) -> tuple[Tensor, ...]:
    """Return `official_pass.image_features`, and record its tensors in `taps`."""
    windows, origins = _windows(backbone, image, taps)
    captioner, pyramids = backbone.feature_extractor, []
    for number, window in enumerate(windows.split(1)):
        found = _view(backbone, window)
        found["clip.prefix"] = captioner.clip.encode_image(found["clip.preprocessed"])
        cond_inputs, cond_emb = captioner.condition(found["clip.prefix"])
        resized = resize_bicubic(window, backbone.window)
        run = official_pass.diffuse(backbone.diffusion, resized, cond_inputs, cond_emb)
        found |= _conditions(cond_inputs, cond_emb) | _features(run.features)
        found["ldm.latent_image"], found["ldm.noisy_latent"] = run.latent_image, run.noisy_latent
        found["ldm.unet_out"], found["ldm.decoded"] = run.unet_out, run.decoded
        pyramids.append(backbone.project(run.features, window.shape[-1]))
        taps |= {f"w{number}.{name}": value for name, value in (found | _single(pyramids[-1])).items()}
    batched = [torch.cat(level) for level in zip(*pyramids, strict=True)]
    return _joined(batched, origins, image, taps)


def traced_pruned(backbone: Backbone, image: Tensor, taps: Taps) -> tuple[Tensor, ...]:
    """Return `windows.image_features`, and record its tensors in `taps`."""
    windows, origins = _windows(backbone, image, taps)
    captioner, diffusion = backbone.feature_extractor, backbone.diffusion
    found = _view(backbone, windows)
    found["clip.prefix"] = captioner.clip.embed_image(captioner.view(windows))
    cond_inputs, cond_emb = captioner.condition(found["clip.prefix"])
    mean, encoder = diffusion.encode(resize_bicubic(windows, backbone.window))
    found["ldm.latent_image"] = mean * diffusion.scale_factor
    found["ldm.noisy_latent"] = diffusion.add_noise(found["ldm.latent_image"])
    unet = diffusion.denoise(found["ldm.noisy_latent"], cond_inputs, cond_emb)
    raw = (*encoder, *unet, *diffusion.decode(mean))
    pyramid = backbone.project(raw, windows.shape[-1])
    found |= _conditions(cond_inputs, cond_emb) | _features(raw) | _single(pyramid)
    for name, value in found.items():
        taps |= {f"w{number}.{name}": window for number, window in enumerate(value.split(1))}
    return _joined(pyramid, origins, image, taps)


def features_of(way: Way) -> Callable[[Backbone, Tensor, Taps], tuple[Tensor, ...]]:
    """Return `traced_official` or `traced_pruned`."""
    return traced_official if way == "official" else traced_pruned


def traced_head(
    head: MaskHead, pyramid: tuple[Tensor, ...], resize_masks: bool, taps: Taps
) -> MaskHeadOutput:
    """Return `head(*pyramid, aux=True, resize_masks=resize_masks)`, and record its tensors in `taps`."""
    pixels = head.pixel_decoder(*pyramid)
    predictions = head.predictor(pixels, aux=True, resize_masks=resize_masks)
    taps["pixel_decoder.mask_features"] = pixels.mask_features
    taps["pixel_decoder.transformer_features"] = pixels.levels[0]
    taps |= {f"pixel_decoder.multi_scale{index}": level for index, level in enumerate(pixels.levels)}
    taps["decoder.logit_scale"] = head.predictor.post_mask_embed.scale()
    prefixes = [*(f"decoder.aux{index}" for index in range(len(predictions) - 1)), "decoder"]
    for prefix, prediction in zip(prefixes, predictions, strict=True):
        for field, value in prediction._asdict().items():
            if value is not None:
                taps[f"{prefix}.{field}"] = value
    return MaskHeadOutput.of(predictions)


def record_texts(model: ODISE, encoded: EncodedTexts, taps: Taps) -> None:
    """Record the text side of both classifiers."""
    if model.preset.kind == "label":
        taps["category_head.null_embed"] = model.category_head.null()
    head = _text_head(model)
    taps[f"{head}.clip_text_embed"] = encoded.names_embed
    taps[f"{head}.text_embed"] = encoded.text_embed
    taps["clip_head.clip_text_embed"] = encoded.clip_text_embed


def record_classification(model: ODISE, image: Tensor, classes: Classification, taps: Taps) -> None:
    """Record the mask side of both classifiers, for an image (1, 3, H, W) in [0, 1]."""
    label = model.preset.kind == "label"
    taps[f"{_text_head(model)}.cal_pred_{'' if label else 'open_'}logits"] = classes.category_logits
    taps["clip_head.in_open_logits"] = classes.category_logits[..., : classes.clip_logits.shape[-1]]
    taps["clip_head.images"] = image
    taps["clip_head.attn_mask"] = _sequence_mask(classes.open_patches[0]).expand(
        model.preset.clip.vision_heads, -1, -1
    )
    taps["clip_head.frac_masked"] = 1 - classes.open_patches.mean()
    taps["clip_head.mask_embed"] = classes.clip_mask_embed
    taps["clip_head.mask_pred_open_logits"] = classes.clip_logits
    taps["clip_head.fused_open_logits"] = classes.fused
    if label:
        # The official decoder of label models predicts "object" for every query, and overwrites it later.
        queries, categories = classes.fused.shape[1], len(model.train_labels)
        placeholder = torch.ones(1, queries, categories + 1)
        placeholder[..., -1] = 0
        for name in [name for name in taps if name.startswith("decoder.") and name.endswith(".mask_embed")]:
            taps[name.replace("mask_embed", "pred_logits")] = placeholder


def record_results(result: Segmentation, taps: Taps) -> None:
    """Record the inputs and the results of post-processing."""
    taps["post.mask_cls_results"] = result.mask_cls
    taps["post.mask_pred_fullres"] = result.mask_pred[None]
    taps["sem_seg_sub"] = result.semantic[None]
    taps["sem_seg_argmax"] = result.semantic.argmax(0)


def _text_head(model: ODISE) -> str:
    return "category_head" if model.preset.kind == "label" else "word_head"


def _sequence_mask(open_patches: Tensor) -> Tensor:
    """Return the official attention mask over [Q masks, CLS, N patches]: (Q+1+N, Q+1+N), true if blocked."""
    queries, patches = open_patches.shape
    blocked = torch.zeros((queries + 1 + patches,) * 2, dtype=torch.bool)
    blocked[:, :queries] = True
    blocked[:queries, queries + 1 :] = open_patches == 0
    return blocked


def _windows(backbone: Backbone, image: Tensor, taps: Taps) -> tuple[Tensor, list[Origin]]:
    windows, origins = extract_windows(image, backbone.window)
    for number, window in enumerate(windows):
        taps[f"w{number}.crop_origin_checksum"] = window.double().sum()
    return windows, origins


def _view(backbone: Backbone, windows: Tensor) -> Taps:
    captioner = backbone.feature_extractor
    return {
        "clip.preprocessed": captioner.clip.normalise(captioner.view(windows)),
        "ldm.img_resized": resize_bicubic(windows, backbone.window),
        "ldm.timesteps": torch.zeros(len(windows), dtype=torch.int64),
    }


def _conditions(cond_inputs: Tensor, cond_emb: Tensor) -> Taps:
    return {"ldm.cond_inputs": cond_inputs, "ldm.cond_emb": cond_emb[:, None]}


def _features(raw: tuple[Tensor, ...]) -> Taps:
    return {f"ldm.feature{index}": feature for index, feature in enumerate(raw)}


def _single(pyramid: tuple[Tensor, ...]) -> Taps:
    return {f"single.s{index}": level for index, level in enumerate(pyramid, start=2)}


def _joined(
    pyramid: list[Tensor] | tuple[Tensor, ...], origins: list[Origin], image: Tensor, taps: Taps
) -> tuple[Tensor, ...]:
    joined = join(pyramid, origins, *image.shape[-2:])
    taps |= {f"backbone.s{index}": level for index, level in enumerate(joined, start=2)}
    return joined
