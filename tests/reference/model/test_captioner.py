"""The implicit captioner, from the image to what conditions the UNet."""

from __future__ import annotations

import pytest
import torch

from reference.model.bicubic import resize_bicubic
from reference.model.windows import extract_windows
from reference.oracle.official_pass import caption
from tests.reference.golden_models import ALL_CASES, golden_case, golden_model


@pytest.mark.parametrize(("kind", "size"), ALL_CASES)
@torch.no_grad()
def test_every_window_is_described_as_officially(kind, size):
    case, model = golden_case(kind, size), golden_model(kind)
    windows, _ = extract_windows(case.padded_image, model.preset.window)
    captioner = model.captioner
    seen = captioner.clip.normalise(captioner.view(windows))
    image_embed = captioner.clip.embed_image(captioner.view(windows))
    cond_inputs, cond_emb = captioner(windows)
    recorded = [number for number in range(len(windows)) if f"w{number}.clip.prefix" in case]
    assert recorded
    for number in recorded:
        window = slice(number, number + 1)
        case.check(f"w{number}.clip.preprocessed", seen[window])
        case.check(f"w{number}.clip.prefix", image_embed[window])
        case.check(f"w{number}.ldm.cond_inputs", cond_inputs[window])
        case.check(f"w{number}.ldm.cond_emb", cond_emb[window, None])


@torch.no_grad()
def test_the_wasteful_way_says_the_same():
    windows, _ = extract_windows(golden_case("label", "small").padded_image, 512)
    captioner = golden_model("label").captioner
    for expected, got in zip(caption(captioner, windows[:1]), captioner(windows[:1]), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_resizing_to_the_same_size_changes_no_bit():
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize_bicubic(image, 64), image)
