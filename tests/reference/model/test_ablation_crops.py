"""CLIP on the bounding box of every mask."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reference.checkpoint import load_weights
from reference.model.ablations.clip_crops import bounding_box, embed_crops
from reference.model.clip import Clip
from reference.preset import DEMO
from tests.golden_case import relative_l2


@cache
def clip() -> Clip:
    return load_weights(DEMO, "random:3").clip


def picture(height: int = 128, width: int = 192) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def logits(*masks: Tensor) -> Tensor:
    return (torch.stack(masks).float() * 20 - 10)[None]


def looked_at(image: Tensor) -> Tensor:
    side = DEMO.clip.image_size
    return clip().embed_image(F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False))


def block(top: int, left: int, bottom: int, right: int) -> Tensor:
    """A mask at stride 4 of a 128 x 192 image."""
    mask = torch.zeros(32, 48, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@torch.no_grad()
def test_a_mask_of_everything_is_the_whole_image():
    image = picture()
    for masked in (False, True):
        embed = embed_crops(clip(), image, logits(block(0, 0, 32, 48)), masked=masked)
        assert embed.shape == (1, 1, DEMO.clip.embed_dim)
        torch.testing.assert_close(embed[0], looked_at(image))


@torch.no_grad()
def test_a_mask_is_its_bounding_box():
    image = picture()
    corners = block(4, 8, 5, 9) | block(19, 27, 20, 28)
    # Resizing by 4 puts pixels 1/8 and 3/8 from a centre: of the logits between 10 and -10 those are above
    # zero, less than half way to the next centre. So a lone block reaches over its own four pixels.
    expected = looked_at(image[..., 16:80, 32:112])
    torch.testing.assert_close(embed_crops(clip(), image, logits(corners))[0], expected)


@torch.no_grad()
def test_without_its_background_a_crop_does_not_depend_on_it():
    image = picture()
    corners = block(0, 0, 16, 48) | block(0, 0, 32, 24)
    other = image.clone()
    other[..., 72:, 104:] = 0
    plain, changed = (embed_crops(clip(), i, logits(corners)) for i in (image, other))
    assert relative_l2(changed, plain) > 1e-3
    plain, changed = (embed_crops(clip(), i, logits(corners), masked=True) for i in (image, other))
    assert torch.equal(changed, plain)


@torch.no_grad()
def test_an_empty_mask_stands_for_the_whole_image():
    image = picture()
    for masked in (False, True):
        embed = embed_crops(clip(), image, logits(block(0, 0, 0, 0)), masked=masked)
        torch.testing.assert_close(embed[0], looked_at(image))


@torch.no_grad()
def test_crops_end_where_the_image_does_and_its_padding_begins():
    image = picture(100, 150)
    embed = embed_crops(clip(), image, logits(block(0, 0, 32, 48), block(26, 0, 32, 48)))
    torch.testing.assert_close(embed[0, :1], looked_at(image))
    # Logits of -10 and 10 change sign half way between two centres, where the block begins: at pixel 104.
    # All of it is padding.
    torch.testing.assert_close(embed[0, 1:], looked_at(image))


@torch.no_grad()
def test_any_number_of_masks_is_embedded_as_each_alone():
    image = picture()
    masks = [block(0, 0, 4 + index, 8 + index) for index in range(27)]
    together = embed_crops(clip(), image, logits(*masks))
    assert together.shape[1] == 27
    for index in (0, 26):
        alone = embed_crops(clip(), image, logits(masks[index]))
        assert relative_l2(together[:, index], alone[:, 0]) < 1e-5


@pytest.mark.parametrize(
    ("pixels", "box"),
    [([(2, 3)], (2, 3, 3, 4)), ([(0, 4), (3, 1)], (0, 1, 4, 5)), ([], (0, 0, 4, 6))],
)
def test_boxes_enclose_their_mask(pixels, box):
    mask = torch.zeros(4, 6, dtype=torch.bool)
    for pixel in pixels:
        mask[pixel] = True
    assert bounding_box(mask) == box
