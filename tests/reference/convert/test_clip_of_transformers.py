"""transformers' own CLIP, converted, embeds images and texts as before."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from pathlib import Path

import torch

from reference.convert.expected import Expected
from reference.convert.sources import open_clip
from reference.download.reporter import Reporter
from reference.preset import GOLDEN_LABEL
from reference.weights.official_names import CLIP
from tests.golden_case import load_golden_model, relative_l2


@torch.no_grad()
def test_a_clip_that_transformers_saved_embeds_as_before(tmp_path: Path) -> None:
    # Not above: a torchvision that cannot load is worked around by the reference first.
    from transformers import CLIPConfig, CLIPModel

    sizes, shared = GOLDEN_LABEL.clip, {"hidden_act": "quick_gelu", "projection_dim": 64}
    text = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**text, "num_hidden_layers": 3, "image_size": sizes.image_size, "patch_size": sizes.patch_size}
    torch.manual_seed(0)
    theirs = CLIPModel(
        CLIPConfig(
            text_config={**text, **shared, "eos_token_id": 49407, "pad_token_id": 1, "bos_token_id": 49406},
            vision_config={**vision, **shared},
            projection_dim=64,
        )
    ).eval()
    for parameter in theirs.parameters():  # norms and biases begin at one and zero
        parameter.add_(0.05 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)

    ours = copy.deepcopy(load_golden_model("label").clip)
    with ExitStack() as stack:
        source = open_clip(tmp_path / "model.safetensors", Expected.of(GOLDEN_LABEL), Reporter(), stack)
        ours.load_state_dict({name.removeprefix(f"{CLIP}."): source.tensors[name] for name in source.tensors})

    images = torch.randn(2, 3, sizes.image_size, sizes.image_size)
    tokens = torch.zeros(2, 77, dtype=torch.int64)
    tokens[0, :4] = torch.tensor([49406, 320, 1125, 49407])
    tokens[1, :6] = torch.tensor([49406, 320, 1125, 539, 320, 49407])
    found = theirs(input_ids=tokens, pixel_values=images)
    for mine, embeds in (
        (ours.encode_image(images), found.image_embeds),
        (ours.encode_text(tokens), found.text_embeds),
    ):
        assert relative_l2(mine / mine.norm(dim=-1, keepdim=True), embeds) < 1e-5
