"""Each loss on cases small enough to work out by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from reference.losses import LossConfig, RandomDraws
from reference.losses.classification import category_loss
from reference.losses.grounding import grounding_loss, image_text_similarity
from reference.losses.masks import (
    dice,
    pairwise_dice,
    pairwise_sigmoid_cross_entropy,
    sigmoid_cross_entropy,
)
from reference.losses.matcher import Match, match
from reference.losses.points import importance_points, sample
from reference.losses.set_criterion import pad_masks

LOG2, LOG3 = math.log(2), math.log(3)


class FixedDraws:
    """Gives these numbers, in order."""

    def __init__(self, *numbers: Tensor) -> None:
        self.numbers = list(numbers)

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        numbers = self.numbers.pop(0)
        assert tuple(numbers.shape) == shape
        return numbers

    def words(self, words, count):
        raise AssertionError("no words here")


def test_mask_cross_entropy_is_the_mean_over_points_and_the_sum_over_masks():
    # -log sigmoid: log 2 at logit 0; at logit log 3, 1/4 is missing inside and 3/4 outside.
    logits = torch.tensor([[0.0, 0.0], [LOG3, LOG3]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    expected = (LOG2 + (math.log(4 / 3) + math.log(4)) / 2) / 4
    assert float(sigmoid_cross_entropy(logits, targets, 4)) == pytest.approx(expected)


def test_dice_compares_sums_of_probabilities():
    # Probabilities 3/4, 1/2 against 1, 0: 1 - (2 * 3/4 + 1) / (5/4 + 1 + 1) = 3/13.
    logits, targets = torch.tensor([[LOG3, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert float(dice(logits, targets, 1)) == pytest.approx(3 / 13)
    assert float(dice(logits.expand(2, -1), targets.expand(2, -1), 4)) == pytest.approx(2 * 3 / 13 / 4)


def test_without_masks_the_mask_losses_are_zero_and_have_gradients():
    logits = torch.zeros(3, 5, requires_grad=True)
    none, targets = logits[:0], torch.zeros(0, 5)
    total = sigmoid_cross_entropy(none, targets, 1) + dice(none, targets, 1)
    total.backward()
    assert total.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_costs_of_pairs_are_the_losses_of_each_pair():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, generator=generator) * 4
    targets = (torch.rand(2, 7, generator=generator) > 0.5).float()
    for pairwise, loss in ((pairwise_sigmoid_cross_entropy, sigmoid_cross_entropy), (pairwise_dice, dice)):
        expected = [[float(loss(q[None], t[None], 1)) for t in targets] for q in logits]
        np.testing.assert_allclose(pairwise(logits, targets), expected, rtol=1e-5)


def test_cross_entropy_weighs_queries_without_a_segment_a_tenth():
    # Query 0 has class 1 of 2; query 1 has none. Softmax (1/4, 1/2, 1/4) for both.
    logits = torch.tensor([[[0.0, LOG2, 0.0], [0.0, LOG2, 0.0]]])
    weight = torch.tensor([1.0, 1.0, 0.1])
    pairs = [Match(torch.tensor([0]), torch.tensor([1]))]
    loss = category_loss(logits, [torch.tensor([0, 1])], pairs, weight)
    assert float(loss) == pytest.approx((LOG2 + 0.1 * math.log(4)) / 1.1)


def test_cross_entropy_of_an_image_without_segments_asks_for_no_object_everywhere():
    logits = torch.tensor([[[0.0, LOG2, 0.0], [0.0, 0.0, LOG2]]])
    nothing = torch.zeros(0, dtype=torch.int64)
    loss = category_loss(logits, [nothing], [Match(nothing, nothing)], torch.tensor([1.0, 1.0, 0.1]))
    assert float(loss) == pytest.approx((math.log(4) + LOG2) / 2)


def test_a_point_is_bilinear_between_pixel_centres_and_fades_at_the_border():
    mask = torch.tensor([[[1.0, 3.0], [5.0, 9.0]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.5], [0.0, 0.25]]])
    # x first. The last lies half a pixel outside the first centre: half of it is nothing.
    assert sample(mask, points).tolist() == [[1.0, 3.0, 4.5, 3.0, 0.5]]


def test_the_points_of_the_loss_are_the_uncertain_candidates_and_some_others():
    # Logits of one row of four pixels; candidates at their centres in the order 3, 0, 2, 1 and so on.
    logits = torch.tensor([[[-0.1, 8.0, 0.5, -4.0]]])
    centres = torch.tensor([[x, 0.5] for x in (0.875, 0.125, 0.625, 0.375, 0.125, 0.875)])[None]
    others = torch.tensor([[[0.3, 0.3]]])
    config = LossConfig(num_points=4, oversample_ratio=1.5, importance_sample_ratio=0.75)
    draws = FixedDraws(centres, others)
    points = importance_points(logits, draws, config)
    assert sorted(points[0, :3, 0].tolist()) == [0.125, 0.125, 0.625]
    assert points[0, 3].tolist() == others[0, 0].tolist()
    assert draws.numbers == []


@pytest.mark.parametrize(("queries", "segments"), [(4, 3), (3, 3), (2, 4)])
def test_the_match_is_the_cheapest_of_all_assignments(queries: int, segments: int):
    generator = torch.Generator().manual_seed(queries)
    config = LossConfig(num_points=50)
    points = torch.rand(1, 50, 2, generator=generator)
    class_logits = torch.randn(queries, 3, generator=generator)
    mask_logits = 3 * torch.randn(queries, 6, 6, generator=generator)
    classes = torch.randint(2, (segments,), generator=generator)
    masks = torch.rand(segments, 12, 12, generator=generator) > 0.5
    found = match(class_logits, mask_logits, classes, masks.float(), FixedDraws(points), config)

    def cost(query: int, segment: int) -> float:
        predicted = sample(mask_logits[[query]], points)
        truth = sample(masks[[segment]].float(), points)
        probability = float(class_logits[query].softmax(-1)[classes[segment]])
        return (
            5 * float(sigmoid_cross_entropy(predicted, truth, 1))
            + 5 * float(dice(predicted, truth, 1))
            - 2 * probability
        )

    pairs = min(queries, segments)
    assignments = (
        list(zip(rows, columns, strict=True))
        for rows in itertools.combinations(range(queries), pairs)
        for columns in itertools.permutations(range(segments), pairs)
    )
    best = min(assignments, key=lambda chosen: sum(cost(*pair) for pair in chosen))
    assert list(zip(found.queries.tolist(), found.targets.tolist(), strict=True)) == best


def test_an_image_without_segments_matches_nothing():
    nothing = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 8, 8)
    found = match(torch.zeros(2, 3), torch.zeros(2, 4, 4), *nothing, RandomDraws(), LossConfig(num_points=5))
    assert found.queries.tolist() == found.targets.tolist() == []
    assert found.queries.dtype == torch.int64


def test_predictions_that_are_not_finite_are_refused():
    truth = torch.zeros(1, dtype=torch.int64), torch.ones(1, 8, 8)
    masks = torch.full((2, 4, 4), math.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        match(torch.zeros(2, 3), masks, *truth, RandomDraws(), LossConfig(num_points=5))


def test_a_caption_asks_the_masks_and_is_the_mean_of_its_words():
    # Masks along x and y, words along x and half way between; scale 2.
    masks = torch.tensor([[[[3.0, 0.0], [0.0, 5.0]]]])
    words = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]])
    share = math.exp(2) / (math.exp(2) + 1)
    expected = (share * 2 + math.sqrt(2)) / 2
    found = image_text_similarity(masks, words, torch.tensor(2.0))
    assert found.shape == (1, 1, 1)
    assert float(found) == pytest.approx(expected)


def _grounding(valid: list[bool]) -> Tensor:
    """One query and one word per image, so that similarity is a cosine: 1, 0 / 0, 1."""
    axes = torch.eye(2)
    scale = torch.tensor(LOG3)
    return grounding_loss(axes[None, :, None], axes[:, None], torch.tensor(valid), scale)


def test_grounding_is_the_cross_entropy_of_both_ways():
    # Logits log 3 and 0: the right answer has 3/4, from either side.
    assert _grounding([True, True]).tolist() == pytest.approx([math.log(4 / 3)])


def test_an_image_with_an_empty_caption_is_not_asked_for_but_is_among_the_answers():
    # From captions: one of two images counts, and the mean is over two. From images: over one.
    wrong = math.log(4 / 3)
    assert _grounding([True, False]).tolist() == pytest.approx([0.5 * (wrong / 2 + wrong)])


def test_without_any_caption_grounding_is_zero_and_not_nan():
    assert _grounding([False, False]).tolist() == [0.0]


def test_masks_are_padded_with_nothing_at_the_bottom_and_right():
    padded = pad_masks(torch.ones(2, 3, 4, dtype=torch.bool), (5, 6))
    assert padded.dtype == torch.bool
    assert padded[:, :3, :4].all()
    assert int(padded.sum()) == 2 * 3 * 4
    with pytest.raises(ValueError, match="masks of"):
        pad_masks(torch.ones(2, 3, 4, dtype=torch.bool), (5, 3))


def test_words_are_drawn_with_replacement_and_by_the_generator():
    draws = [RandomDraws(torch.Generator().manual_seed(3)).words(("a", "b"), 8) for _ in range(2)]
    assert draws[0] == draws[1]
    assert set(draws[0]) == {"a", "b"}


@pytest.mark.parametrize("wrong", [{"num_points": 0}, {"oversample_ratio": 0.5}, {"num_words": 0}])
def test_numbers_that_make_no_loss_are_refused(wrong: dict):
    with pytest.raises(ValueError, match="at least"):
        LossConfig(**wrong)
