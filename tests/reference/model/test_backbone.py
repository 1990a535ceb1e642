"""From windows to the pyramid the mask head reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reference.model import ODISE
from reference.model.projections import Bottleneck
from reference.model.windows import extract_windows
from reference.preset import DEMO
from tests.reference.golden_models import golden_case, golden_model


# Part of the comparisons of whole cases, for whoever looks for a fault.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("label", "small"), ("caption", "512")])
@torch.no_grad()
def test_the_pyramid_of_a_window_is_the_official_one(kind, size):
    case, model = golden_case(kind, size), golden_model(kind)
    window = extract_windows(case.padded_image, model.preset.window)[0][:1]
    pyramid = model.features(window, *model.captioner(window))
    for name, level in zip(("s2", "s3", "s4", "s5"), pyramid, strict=True):
        case.check(f"w0.single.{name}", level)


def test_features_join_the_level_of_their_stride_by_nearest_pixels():
    with torch.device("meta"):
        backbone = ODISE(DEMO).backbone
    backbone.feature_projections = nn.ModuleList(nn.Identity() for _ in range(8))
    # Raw feature i holds 10^i everywhere, at its size for a 512 window.
    sides = [512 // stride for stride in (4, 8, 64, 32, 16, 8, 8, 4)]
    raw = tuple(torch.full((1, 1, side, side), 10.0**i) for i, side in enumerate(sides))
    s2, s3, s4, s5 = backbone.project(raw, 320)
    assert (s2.shape[-1], s3.shape[-1], s4.shape[-1], s5.shape[-1]) == (80, 40, 20, 10)
    assert s2.unique().tolist() == [10000001]
    assert s3.unique().tolist() == [1100010]
    assert s4.unique().tolist() == [10000]
    assert s5.unique().tolist() == [1100]
    columns = torch.arange(128.0).expand(1, 1, 128, 128)
    zeros = [torch.zeros_like(feature) for feature in raw]
    s2 = backbone.project((columns, *zeros[1:]), 320)[0]
    assert s2[0, 0, 0].tolist() == [i * 128 // 80 for i in range(80)]


def test_a_bottleneck_keeps_its_input_where_the_widths_agree():
    block = Bottleneck(128, 128)
    assert block.shortcut is None
    nn.init.zeros_(block.conv3.norm.weight)
    x = torch.randn(2, 128, 4, 4)
    assert torch.equal(block(x), x.relu())
    assert Bottleneck(64, 128).shortcut is not None
