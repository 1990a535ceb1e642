"""Ablated features: captioners that do not look, other diffusion steps, CLIP instead of diffusion."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from reference.ablation import Ablation
from reference.checkpoint import load_official, load_weights, official_state_dict
from reference.errors import AblationError
from reference.losses import training_losses
from reference.losses.batch import Batch, Target
from reference.losses.config import LossConfig
from reference.model import ODISE
from reference.model.ablations.ablate import ablate, new_parts
from reference.model.ablations.given_captions import GivenCaptioner
from reference.model.ablations.time_steps import LearnableStep, SteppedDiffusion
from reference.model.windows import image_features
from reference.preset import DEMO, GOLDEN_LABEL, Preset
from reference.training.config import TrainConfig
from reference.training.param_groups import optimizer_groups
from tests.golden_case import relative_l2
from tests.reference.golden_models import golden_model

LABELS = (("person", "human"), ("sky",), ("unicorn", "magic horse"))
ABLATIONS = {
    "empty": Ablation.parse(captioner="empty"),
    "given": Ablation.parse(captioner="given"),
    "500": Ablation.parse(timesteps="500"),
    "0+100+200": Ablation.parse(timesteps="0+100+200"),
    "learnable": Ablation.parse(timesteps="learnable"),
    "crop": Ablation.parse(clip_masks="crop"),
    "clip": Ablation.parse(features="clip"),
}


@cache
def paper() -> ODISE:
    return load_weights(DEMO, "random:3")


@cache
def ablated(name: str) -> ODISE:
    torch.manual_seed(0)
    return ablate(load_weights(DEMO, "random:3"), ABLATIONS[name])


def told(model: ODISE, *captions: str) -> AbstractContextManager[None]:
    captioner = model.captioner
    return captioner.given(captions) if isinstance(captioner, GivenCaptioner) else nullcontext()


def random_windows(count: int = 1) -> Tensor:
    return torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def stepped(steps: str, source: ODISE) -> SteppedDiffusion:
    """The diffusion model of `source` at other steps."""
    preset: Preset = source.preset.with_ablation(Ablation.parse(timesteps=steps))
    diffusion = SteppedDiffusion(preset)
    diffusion.load_state_dict(source.backbone.diffusion.state_dict(), strict=steps != "learnable")
    return diffusion


@torch.no_grad()
def test_step_zero_gives_the_features_of_the_papers_model_bit_for_bit():
    windows = random_windows()
    conditions = paper().captioner(windows)
    expected = paper().backbone.diffusion(windows, *conditions)
    for steps in ("0", "0+500"):
        for mine, default in zip(stepped(steps, paper())(windows, *conditions), expected, strict=True):
            assert torch.equal(mine[:, : default.shape[1]], default)


@torch.no_grad()
def test_features_of_several_steps_are_those_of_each_one_after_the_other():
    windows = random_windows()
    conditions = paper().captioner(windows)
    first, second, both = (
        stepped(steps, paper())(windows, *conditions) for steps in ("100", "200", "200+100")
    )
    for index in range(8):
        once = index not in range(2, 6)
        expected = first[index] if once else torch.cat((second[index], first[index]), dim=1)
        assert torch.equal(both[index], expected)
        assert torch.equal(first[index], second[index]) == once


def test_noise_and_time_embedding_of_a_step_are_those_of_the_schedule():
    diffusion = stepped("100+500", paper())
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    for step in (100, 500):
        noisy = diffusion.add_noise(latent, diffusion.kept(step))
        expected = scheduler.add_noise(latent, diffusion.shared_noise, torch.tensor([step]))
        torch.testing.assert_close(noisy, expected, rtol=1e-4, atol=1e-5)
        frequencies = 10000.0 ** (-np.arange(16) / 16)
        sinusoid = np.concatenate([np.cos(step * frequencies), np.sin(step * frequencies)])
        embedding = diffusion.unet.time_embedding(torch.from_numpy(sinusoid).float()[None])
        torch.testing.assert_close(diffusion.embed_step(step), embedding, rtol=1e-4, atol=1e-4)


def test_what_is_kept_between_two_steps_lies_between_them():
    diffusion = stepped("learnable", paper())
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    kept = scheduler.alphas_cumprod.tolist()
    between = 0.75 * kept[100] + 0.25 * kept[101]
    assert diffusion.kept(torch.tensor(100.25)).item() == pytest.approx(between, rel=1e-5)
    assert diffusion.kept(torch.tensor(999.0)).item() == pytest.approx(kept[999], rel=1e-5)
    assert diffusion.kept(torch.tensor(0.0)).item() == pytest.approx(1 - 0.00085)


@torch.no_grad()
def test_a_learnt_step_does_what_the_fixed_one_does():
    windows = random_windows()
    conditions = paper().captioner(windows)
    learnt = stepped("learnable", paper())
    learnt.step.position.copy_(torch.tensor(200 / 999, dtype=torch.float64).logit())
    expected = stepped("200", paper())(windows, *conditions)
    for mine, fixed in zip(learnt(windows, *conditions), expected, strict=True):
        assert relative_l2(mine, fixed) < 1e-4


def test_the_gradient_of_the_learnt_step_is_the_slope():
    diffusion = stepped("learnable", paper()).double()
    windows = random_windows().double()
    with torch.no_grad():
        conditions = [condition.double() for condition in paper().captioner(random_windows())]

    def loss(position: float) -> Tensor:
        with torch.no_grad():
            diffusion.step.position.fill_(position)
        return sum(feature.square().mean() for feature in diffusion(windows, *conditions)[2:6])

    middle = torch.tensor(200.4 / 999, dtype=torch.float64).logit().item()
    loss(middle).backward()
    # Three hundredths of a step to either side: less drowns in the time embedding's single precision.
    reach = 2e-4
    with torch.no_grad():
        slope = (loss(middle + reach) - loss(middle - reach)) / (2 * reach)
    assert slope.abs() > 1e-3
    assert diffusion.step.position.grad.item() == pytest.approx(slope.item(), rel=2e-3)


def test_a_learnt_step_starts_anywhere_and_stays_in_range():
    torch.manual_seed(0)
    starts = torch.stack([LearnableStep()().detach() for _ in range(400)])
    assert starts.min() < 50
    assert starts.max() > 949
    # The mean of 400 uniform numbers is within three deviations of the middle.
    assert abs(starts.mean().item() - 499.5) < 3 * 999 / 12**0.5 / 20
    step = LearnableStep()
    for position in (-1e4, 1e4):
        step.position.data.fill_(position)
        assert 0 <= step().item() <= 999


@torch.no_grad()
def test_the_empty_caption_says_nothing_of_the_image():
    captioner = ablated("empty").captioner
    cond_inputs, cond_emb = captioner(random_windows(2))
    assert torch.equal(cond_inputs, paper().captioner.uncond_inputs.expand(2, -1, -1))
    assert not cond_emb.any()
    assert cond_emb.shape == paper().captioner(random_windows(2))[1].shape
    assert not torch.equal(*paper().captioner(random_windows(2))[0].split(1))


@torch.no_grad()
def test_given_captions_go_to_the_windows_of_their_image():
    captioner = ablated("given").captioner
    with captioner.given(["a red car", "snow"]):
        cond_inputs, cond_emb = captioner(random_windows(4))
    assert torch.equal(cond_inputs[0], cond_inputs[1])
    assert torch.equal(cond_inputs[2], cond_inputs[3])
    assert not torch.equal(cond_inputs[0], cond_inputs[2])
    assert not cond_emb.any()
    assert torch.equal(captioner.encode(["snow"])[0], cond_inputs[2])


@torch.no_grad()
def test_given_captions_are_read_by_the_text_encoder_of_the_diffusion_model():
    golden = golden_model("label")
    preset = GOLDEN_LABEL.with_ablation(ABLATIONS["given"])
    captioner = GivenCaptioner(preset, golden.clip, golden.backbone.diffusion.cond_stage)
    # The embedding of "" is also a constant in the weights.
    assert relative_l2(captioner.encode([""]), golden.captioner.uncond_inputs) < 1e-4
    # "!" is token 0 of the vocabulary, and no padding.
    assert relative_l2(captioner.encode(["!"]), captioner.encode([""])) > 1e-2


@torch.no_grad()
def test_without_one_they_are_read_by_clip():
    captioner = ablated("given").captioner
    states = captioner.encode(["a red car"])
    clip = paper().clip
    # "a red car" is three tokens after the start, and the next is the end, whose state embeds the text.
    tokens = torch.zeros(1, 77, dtype=torch.int64)
    tokens[0, :5] = torch.tensor([49406, 320, 736, 1615, 49407])
    torch.testing.assert_close(states[:, 4] @ clip.text_projection, clip.embed_text(tokens))


def test_captions_that_are_missing_or_too_few_are_named():
    captioner = ablated("given").captioner
    with pytest.raises(AblationError, match="was not"):
        captioner(random_windows())
    with (
        captioner.given(["one", "two", "three"]),
        pytest.raises(AblationError, match="3 captions for 4 windows"),
    ):
        captioner(random_windows(4))
    with captioner.given(["one"]), pytest.raises(AblationError), captioner.given(["two"]):
        pass
    with pytest.raises(AblationError), captioner.given("one sentence"):
        pass


@torch.no_grad()
def test_features_of_clip_are_the_patches_after_four_of_its_layers():
    model = ablated("clip")
    windows, clip, seen = random_windows(2), model.clip, []
    hooks = [
        block.register_forward_hook(lambda _, args, output: seen.append(output))
        for block in clip.visual.transformer.resblocks
    ]
    clip.encode_image(clip.normalise(paper().captioner.view(windows)))
    for hook in hooks:
        hook.remove()
    assert model.backbone.depths == (1, 2, 3, 4)
    for feature, tokens in zip(model.backbone.raw(windows), seen, strict=True):
        assert relative_l2(feature.flatten(2).mT, tokens[:, 1:]) < 1e-4
    assert [level.shape[-1] for level in model.features(windows, *model.captioner(windows))] == [32, 16, 8, 4]
    assert not any("unet" in name or "vae" in name for name, _ in model.named_parameters())


def test_a_learnt_step_is_not_pulled_to_the_middle_by_weight_decay():
    model = ablated("learnable")
    decaying, constant = optimizer_groups(model, TrainConfig())
    position = model.backbone.diffusion.step.position
    assert any(p is position for p in constant["params"])
    assert not any(p is position for p in decaying["params"])


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablated_model_learns_where_it_should(name):
    model = ablated(name).train()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, 128, 128), dtype=torch.uint8, generator=generator)
    masks = torch.zeros(2, 128, 128, dtype=torch.bool)
    masks[0, :64], masks[1, 64:, :96] = True, True
    target = Target(masks, torch.tensor([0, 3]))
    config = LossConfig(num_points=128)
    model.zero_grad()
    with told(model, "a cat", "a dog"):
        losses = training_losses(model, Batch(images, (target, target)), generator=generator, config=config)
        sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    learning = {n: p.grad for n, p in model.named_parameters() if p.requires_grad and "feature" in n}
    learning |= {n: p.grad for n, p in model.named_parameters() if n.endswith("step.position")}
    assert [n for n, grad in learning.items() if grad is None or not torch.isfinite(grad).all()] == []
    assert any(grad.any() for grad in learning.values())
    assert ("backbone.diffusion.step.position" in learning) == (name == "learnable")
    captioned = any("feature_extractor" in n for n in learning)
    assert captioned == (name not in ("empty", "given", "clip"))
    model.eval()


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablated_model_segments(name):
    model = ablated(name)
    image = torch.randint(256, (100, 180, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with told(model, "a cat"):
        result = model.segment(image, LABELS, {0})
    assert result.mask_pred.shape == (32, 100, 180)
    assert torch.isfinite(result.mask_cls).all()
    default = paper().segment(image, LABELS, {0})
    assert not torch.equal(result.mask_cls, default.mask_cls)
    assert torch.equal(result.mask_pred, default.mask_pred) == (name == "crop")


@pytest.mark.parametrize("name", ABLATIONS)
def test_weights_of_an_ablated_model_are_loaded_strictly(name):
    model = ablated(name)
    state = official_state_dict(model)
    again = ODISE(DEMO.with_ablation(ABLATIONS[name])).eval()
    load_official(again, state)
    padded = random_windows()
    with torch.no_grad(), told(model, "a cat"), told(again, "a cat"):
        pairs = zip(
            image_features(model.backbone, padded), image_features(again.backbone, padded), strict=True
        )
        assert all(torch.equal(first, second) for first, second in pairs)


def test_an_ablated_model_keeps_every_weight_that_fits():
    source = load_weights(DEMO, "random:3")
    model = ablate(source, ABLATIONS["0+100+200"])
    fresh = new_parts(ABLATIONS["0+100+200"])
    assert fresh == [f"backbone.feature_projections.{index}" for index in (2, 3, 4, 5)]
    theirs = dict(source.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all()
        if not any(name.startswith(f"{part}.") for part in fresh):
            assert parameter.data_ptr() == theirs[name].data_ptr()
    width = model.backbone.feature_projections[2][0].conv1.in_channels
    assert width == 3 * source.backbone.feature_projections[2][0].conv1.in_channels


def test_a_captioner_that_is_not_read_is_in_the_files_as_zeros():
    model = ablated("empty")
    assert not any(parameter.requires_grad for parameter in model.captioner.parameters())
    state = official_state_dict(model, part="trainable")
    assert not state["backbone.feature_extractor.clip_project.linear.weight"].any()
    # So weights of the paper's model fit, whole or the released part alone.
    trainable = official_state_dict(paper(), part="trainable")
    load_official(ODISE(DEMO.with_ablation(ABLATIONS["empty"])), trainable, part="trainable")


def test_captions_cannot_be_given_to_a_unet_of_another_width():
    preset = replace(DEMO, unet=replace(DEMO.unet, context_dim=96))
    with torch.device("meta"), pytest.raises(AblationError, match="64 wide, its UNet reads 96"):
        ODISE(preset.with_ablation(ABLATIONS["given"]))
