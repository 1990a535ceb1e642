"""Bicubic resizing as an operator and as products."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reference.model.bicubic import resize_bicubic, resize_by_products


@pytest.mark.parametrize("side", [84, 168, 336, 512])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 320), (512, 448), (511, 3)])
def test_the_products_give_what_the_operator_gives(height, width, side):
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, size=(side, side), mode="bicubic", align_corners=False)
    assert torch.equal(resize_bicubic(image, side), expected)
    found = resize_by_products(image, side)
    # Both round the position of a sample to float32: they are equally far from the exact result.
    exact = F.interpolate(image.double(), size=(side, side), mode="bicubic", align_corners=False)
    assert (found - exact).abs().max() <= 1.1 * (expected - exact).abs().max() + 2e-6
    assert (found - expected).abs().max() < 3e-5


def test_an_image_of_the_size_is_unchanged():
    image = torch.rand(2, 3, 84, 84)
    assert torch.equal(resize_bicubic(image, 84), image)
    assert torch.equal(resize_by_products(image, 84), image)


def test_an_exported_graph_has_products_and_no_resizing():
    class Resize(nn.Module):
        def forward(self, image):
            return resize_bicubic(image, 64)

    side = torch.export.Dim("side", min=8, max=128)
    shapes = ({2: side, 3: side},)
    program = torch.export.export(Resize(), (torch.rand(1, 3, 96, 96),), dynamic_shapes=shapes, strict=False)
    operators = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.matmul.default" in operators
    assert not any("upsample" in operator for operator in operators)
    image = torch.rand(1, 3, 40, 40)
    assert torch.allclose(program.module()(image), resize_bicubic(image, 64), atol=1e-5)
