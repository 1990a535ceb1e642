"""The frozen feature extractor: UNet and autoencoder."""

from __future__ import annotations

import pytest
import torch

from reference.checkpoint import fill_random, load_weights
from reference.model import ODISE
from reference.model.backbone import Backbone
from reference.model.bicubic import resize_bicubic
from reference.model.diffusion import STRIDES, Diffusion, raw_channels
from reference.model.windows import extract_windows
from reference.noise_schedule import schedule
from reference.oracle import official_pass
from reference.preset import DEMO, ODISE_LABEL
from tests.golden_case import relative_l2
from tests.reference.golden_models import golden_case, golden_model


def first_window(kind: str, size: str) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    model = golden_model(kind)
    windows, _ = extract_windows(golden_case(kind, size).padded_image, model.preset.window)
    return resize_bicubic(windows[:1], model.preset.window), model.captioner(windows[:1])


# Like the next test, one part of what the comparisons of whole cases contain, for whoever looks for a fault.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("label", "512"), ("caption", "small")])
@torch.no_grad()
def test_latents_and_raw_features_are_the_official_ones(kind, size):
    case, diffusion = golden_case(kind, size), golden_model(kind).backbone.diffusion
    image, conditions = first_window(kind, size)
    mean, _ = diffusion.encode(image)
    latent = mean * diffusion.scale_factor
    case.check("w0.ldm.img_resized", image)
    case.check("w0.ldm.latent_image", latent)
    case.check("w0.ldm.noisy_latent", diffusion.add_noise(latent))
    for index, feature in enumerate(diffusion(image, *conditions)):
        case.check(f"w0.ldm.feature{index}", feature)


@pytest.mark.slow
@torch.no_grad()
def test_the_wasteful_way_computes_everything_the_official_code_does():
    case, model = golden_case("label", "small"), golden_model("label")
    image, conditions = first_window("label", "small")
    run = official_pass.diffuse(model.backbone.diffusion, image, *conditions)
    case.check("w0.ldm.latent_image", run.latent_image)
    case.check("w0.ldm.noisy_latent", run.noisy_latent)
    case.check("w0.ldm.unet_out", run.unet_out)
    case.check("w0.ldm.decoded", run.decoded)
    for index, feature in enumerate(run.features):
        case.check(f"w0.ldm.feature{index}", feature)
    # The text encoder reads "", whose embedding the weights also hold as a constant.
    assert run.caption is not None
    assert relative_l2(run.caption, model.captioner.uncond_inputs) < 1e-4


@torch.no_grad()
def test_work_that_nobody_reads_is_not_done():
    model = load_weights(DEMO, "random:3")
    diffusion = model.backbone.diffusion
    windows = torch.rand(1, 3, 128, 128)
    before = diffusion(windows, *model.captioner(windows))
    dead = [diffusion.unet.up_blocks[-1].resnets[-1], diffusion.unet.up_blocks[-1].attentions[-1]]
    dead += [diffusion.unet.conv_norm_out, diffusion.unet.conv_out]
    dead += [diffusion.vae.decoder.up_blocks[1].resnets[-1], *diffusion.vae.decoder.up_blocks[2:]]
    dead += [diffusion.vae.decoder.conv_norm_out, diffusion.vae.decoder.conv_out]
    for module in dead:
        for parameter in module.parameters():
            parameter.fill_(float("nan"))
    after = diffusion(windows, *model.captioner(windows))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@torch.no_grad()
def test_a_batch_of_windows_gives_what_they_give_alone():
    model = load_weights(DEMO, "random:3")
    windows = torch.rand(3, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    batch = model.features(windows, *model.captioner(windows))
    alone = official_pass.window_features(model.backbone, windows[2:])
    for level, expected in zip(batch, alone, strict=True):
        assert relative_l2(level[2:], expected) < 1e-5


@torch.no_grad()
def test_the_time_embedding_is_that_of_step_zero():
    unet = golden_model("label").backbone.diffusion.unet
    expected = unet.time_embedding(unet.time_proj(torch.tensor([0])))
    assert torch.equal(golden_model("label").backbone.diffusion.time_embedding(), expected)


def test_the_noise_added_at_step_zero_is_that_of_the_schedule():
    diffusion = golden_model("label").backbone.diffusion
    shape = diffusion.shared_noise.shape
    assert diffusion.add_noise(torch.full(shape, 1e9)).mean().item() == pytest.approx(0.99957491e9, rel=1e-6)
    noise = diffusion.add_noise(torch.zeros(shape)) / diffusion.shared_noise
    torch.testing.assert_close(noise, torch.full(shape, 0.02915476))
    assert schedule()["sqrt_alphas_cumprod"][0] == pytest.approx(0.99957491)


def test_the_shared_noise_is_seeded_with_42():
    model = load_weights(DEMO, "random:3")
    expected = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(42))
    assert torch.equal(model.backbone.diffusion.shared_noise, expected)


def test_raw_features_have_the_widths_and_strides_of_the_paper():
    assert raw_channels(ODISE_LABEL) == (512, 512, 2560, 1920, 960, 640, 512, 512)
    assert STRIDES == (4, 8, 64, 32, 16, 8, 8, 4)
    with torch.device("meta"):
        diffusion = Diffusion(DEMO)
        image = torch.zeros(2, 3, 128, 128)
        features = diffusion(image, torch.zeros(2, 77, 64), torch.zeros(2, 128))
    sizes = [(2, width, 128 // s, 128 // s) for width, s in zip(raw_channels(DEMO), STRIDES, strict=True)]
    assert [tuple(feature.shape) for feature in features] == sizes


def test_only_the_captioner_and_the_projections_learn():
    with torch.device("meta"):
        backbone = ODISE(DEMO).backbone
    assert isinstance(backbone, Backbone)
    learning = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    frozen = {".".join(name.split(".")[:2]) for name, p in backbone.named_parameters() if not p.requires_grad}
    assert learning == {"feature_extractor", "feature_projections"}
    assert frozen == {"feature_extractor.clip", "diffusion.unet", "diffusion.vae"}


@torch.no_grad()
def test_seeded_weights_keep_activations_alive():
    with torch.device("cpu"):
        model = ODISE(DEMO)
    fill_random(model, 11)
    windows = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    for level in model.eval().features(windows, *model.captioner(windows)):
        assert 0.05 < level.std().item() < 50
