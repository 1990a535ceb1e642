"""From embeddings to class probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from reference.model import open_vocabulary as texts

LABELS = (("person", "people"), ("sky",), ("unicorn", "magic horse"))


def test_names_stand_in_order_bare_or_in_the_template():
    assert texts.prompted(LABELS, None) == ["person", "people", "sky", "unicorn", "magic horse"]
    assert texts.prompted(LABELS[1:], "a photo of a {}.") == [
        "a photo of a sky.",
        "a photo of a unicorn.",
        "a photo of a magic horse.",
    ]


def test_tokens_are_the_official_ones_padded_with_zeros():
    tokens = texts.tokenize(["a photo of a magic horse.", "sky"], 77)
    start = [49406, 320, 1125, 539, 320, 3778, 4558, 269, 49407]
    assert tokens.dtype == torch.int64
    assert tokens[0].tolist() == start + [0] * (77 - len(start))
    assert tokens[1].tolist() == [49406, 2390, 49407] + [0] * 74


def test_similarity_ignores_lengths():
    embed = torch.tensor([[[3.0, 4.0], [0.0, -2.0]]])
    text = torch.tensor([[10.0, 0.0], [0.0, 0.5]])
    found = texts.similarity(embed, text, torch.tensor(10.0))
    torch.testing.assert_close(found, torch.tensor([[[6.0, 8.0], [0.0, -10.0]]]))


def test_a_category_scores_by_its_best_synonym():
    logits = torch.tensor([[[1.0, 5.0, 2.0, 4.0, 3.0]]])
    assert texts.best_synonym(logits, LABELS).tolist() == [[[5.0, 2.0, 4.0]]]


def test_fusion_is_the_geometric_mean_with_alpha_for_seen_and_beta_for_new_categories():
    category, clip = torch.tensor([[[0.6, 0.3, 0.1]]]), torch.tensor([[[0.2, 0.3, 0.5]]])
    seen = torch.tensor([True, False, True])
    # A constant added to all logits of a classifier does not count.
    fused = texts.fuse(category.log() + 7, clip.log() - 3, seen, alpha=0.25, beta=0.75)
    expected = [0.6**0.75 * 0.2**0.25, 0.3**0.25 * 0.3**0.75, 0.1**0.75 * 0.5**0.25]
    assert fused.exp().flatten().tolist() == pytest.approx(expected)


def test_a_probability_that_underflows_gives_a_number_where_the_official_formula_gives_nan():
    category, clip = torch.tensor([[[200.0, 0.0]]]), torch.tensor([[[0.0, 200.0]]])
    seen = torch.tensor([True, False])
    p, q = category.softmax(-1), clip.softmax(-1)
    official = (p**0.7 * q**0.3).log() * seen + (p**0.3 * q**0.7).log() * ~seen
    assert official.isnan().all()
    assert texts.fuse(category, clip, seen, 0.3, 0.7).flatten().tolist() == pytest.approx([-60.0, -60.0])


def test_classes_share_what_no_object_leaves_and_it_comes_last():
    fused = torch.tensor([[[math.log(3.0), 0.0]]])
    found = texts.with_void(fused, torch.tensor([[[0.2]]]))
    assert found.exp().flatten().tolist() == pytest.approx([0.6, 0.2, 0.2])


def test_certain_no_object_leaves_a_finite_log_probability():
    found = texts.with_void(torch.zeros(1, 1, 2), torch.ones(1, 1, 1))
    assert found.flatten().tolist() == pytest.approx([math.log(1e-8), math.log(1e-8), 0.0], abs=1e-6)
