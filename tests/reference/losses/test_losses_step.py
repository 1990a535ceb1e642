"""A training step: what it needs, what it reaches, and what makes no difference to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reference.ablation import Ablation
from reference.errors import AblationError
from reference.losses import (
    Batch,
    LossConfig,
    RandomDraws,
    Target,
    predictions_losses,
    supervise,
    training_losses,
    training_pyramid,
)
from reference.losses.texts import TextCache, embed_texts
from reference.model import ODISE
from reference.model.ablations.ablate import ablate
from tests.reference.losses.tiny_losses import CONFIG, batch, tiny_model

KINDS = ("label", "caption")


def _step(model: ODISE, given: Batch, config: LossConfig = CONFIG) -> dict[str, Tensor]:
    return training_losses(model, given, generator=torch.Generator().manual_seed(1), config=config)


def _gradients(model: ODISE, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_every_trainable_parameter_learns_and_no_frozen_one_does(kind: str):
    model = tiny_model(kind)
    gradients = _gradients(model, _step(model, batch(2, 3)))
    assert set(gradients) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, gradient in gradients.items() if not gradient.abs().sum() > 0} == set()
    assert any(name.startswith("backbone.feature_extractor.clip_project") for name in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_recomputing_activations_changes_no_gradient(kind: str):
    model = tiny_model(kind)
    kept = _gradients(model, _step(model, batch(2, 1)))
    recomputed = _gradients(model, _step(model, batch(2, 1), replace(CONFIG, checkpointing=True)))
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)
    # Nothing of it stays behind in the model.
    assert not any("forward" in vars(module) for module in model.modules())


def test_recomputing_keeps_less_for_the_backward_pass():
    model, images = tiny_model("label"), batch(1, 1).images

    def kept(checkpointing: bool) -> int:
        seen: dict[int, int] = {}

        def pack(x: Tensor) -> Tensor:
            seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            pyramid = training_pyramid(model, images, checkpointing=checkpointing)
        assert pyramid[0].requires_grad
        return sum(seen.values())

    assert kept(True) < 0.5 * kept(False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_segments_is_part_of_a_batch(kind: str):
    losses = _step(tiny_model(kind), batch(0, 2))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_a_label_batch_without_any_segment_teaches_no_object_alone():
    model = tiny_model("label")
    losses = _step(model, batch(0, 0))
    assert all((loss > 0) == name.startswith("loss_ce") for name, loss in losses.items())
    gradients = _gradients(model, losses)
    # DDP waits for the gradient of every parameter, even a zero.
    assert set(gradients) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_a_caption_batch_without_any_segment_learns_from_its_words_alone():
    model = tiny_model("caption")
    losses = _step(model, batch(0, 0))
    assert all((loss > 0) == ("word" in name) for name, loss in losses.items())
    assert set(_gradients(model, losses)) == {name for name, p in model.named_parameters() if p.requires_grad}


def test_a_caption_without_words_gives_no_grounding():
    losses = _step(tiny_model("caption"), batch(1, 2, words=()))
    assert all((loss == 0) == ("word" in name) for name, loss in losses.items())


def test_captions_ignore_the_classes_of_segments():
    model, given = tiny_model("caption"), batch(2)
    other = Batch(given.images, (replace(given.targets[0], classes=torch.tensor([7, 9])),))
    assert _step(model, given) == _step(model, other)


def test_every_prediction_is_supervised_with_the_papers_weights():
    model, given = tiny_model("caption"), batch(2, 1)
    pyramid = training_pyramid(model, given.images)
    config = LossConfig(num_points=64, class_weight=3, mask_weight=7, dice_weight=11, word_weight=13)
    step = supervise(model, pyramid, given, RandomDraws(), config)
    weights = {"loss_ce": 3, "loss_mask": 7, "loss_dice": 11, "loss_mask_word": 13}
    assert set(step.losses) == {term + suffix for term in weights for suffix in ("", "_0", "_1")}
    for name, loss in step.losses.items():
        assert loss.item() == pytest.approx(weights[name.rstrip("_01")] * step.unweighted[name].item())
    paper = LossConfig()
    assert (paper.class_weight, paper.mask_weight, paper.dice_weight, paper.word_weight) == (2, 5, 5, 1)
    assert (paper.num_points, paper.num_words) == (12_544, 8)


def test_a_cached_pyramid_gives_the_losses_of_its_images():
    model, given = tiny_model("label"), batch(2, 1)
    whole = _step(model, given)
    pyramid = training_pyramid(model, given.images)
    generator = torch.Generator().manual_seed(1)
    assert predictions_losses(model, pyramid, given, generator=generator, config=CONFIG) == whole


def test_images_are_padded_with_black_and_masks_with_nothing():
    model, given = tiny_model("label"), batch(2, size=50)
    target = given.targets[0]
    black = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    black[..., :50, :50] = given.images
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[:, :50, :50] = target.masks
    assert _step(model, given) == _step(model, Batch(black, (Target(masks, target.classes),)))


def test_the_losses_of_a_seed_are_always_the_same():
    model, given = tiny_model("caption"), batch(2, 1)
    assert _step(model, given) == _step(model, given)
    assert _step(model, given) != training_losses(
        model, given, generator=torch.Generator().manual_seed(2), config=CONFIG
    )


def test_losses_stay_in_float32_under_autocast_and_near_those_without():
    model, given = tiny_model("caption"), batch(2, 1)
    exact = _step(model, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = _step(model, given)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert sum(losses.values()).item() == pytest.approx(sum(exact.values()).item(), rel=0.1)
    gradients = _gradients(model, losses)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_texts_are_encoded_once_until_the_weights_change(monkeypatch: pytest.MonkeyPatch):
    clip, cache, encoded = tiny_model("label").clip, TextCache(), []
    original = clip.embed_text
    monkeypatch.setattr(clip, "embed_text", lambda tokens: encoded.append(len(tokens)) or original(tokens))
    first = cache.embed(clip, ["car", "sky", "car"])
    assert torch.equal(first[0], first[2])
    assert torch.equal(cache.embed(clip, ["sky", "person"])[0], first[1])
    assert encoded == [2, 1]
    with torch.no_grad():
        clip.text_projection.mul_(2)
    assert torch.allclose(cache.embed(clip, ["sky"])[0], 2 * first[1])
    assert encoded == [2, 1, 1]


def test_two_models_do_not_share_their_texts():
    one, other = tiny_model("label").clip, tiny_model("label").clip
    with torch.no_grad():
        other.text_projection.mul_(3)
    assert torch.allclose(3 * embed_texts(one, ["car"]), embed_texts(other, ["car"]))


def test_a_model_that_is_told_what_is_in_an_image_is_told_the_captions_of_the_batch():
    told = ablate(tiny_model("label"), Ablation.parse(captioner="given"))
    plain = batch(2, 1)
    captions = ("two red cars", "snow")
    given = Batch(
        plain.images, tuple(replace(t, caption=c) for t, c in zip(plain.targets, captions, strict=True))
    )

    def losses(what: Batch) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        return [v.item() for v in training_losses(told, what, generator=generator, config=CONFIG).values()]

    with told.captioner.given(captions):
        expected = losses(plain)
    assert losses(given) == expected
    swapped = Batch(given.images, tuple(replace(t, caption="sky") for t in given.targets))
    assert losses(swapped) != expected
    with pytest.raises(AblationError, match="told"):
        losses(plain)
