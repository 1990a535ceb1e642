"""Classification: the official model's numbers, and what must hold where it gives none."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odise_trt.classify import category_logits, classify, fuse, log_softmax
from odise_trt.text_table import TextTable, unit
from odise_trt.vocabulary import Category, Vocabulary

CASES = [f"{kind}_{size}" for kind in ("label", "caption") for size in ("512", "nonsquare", "small")]


def table(
    labels: list[list[str]], clip_text_embed: np.ndarray, text_embed: np.ndarray, seen: list[bool]
) -> TextTable:
    vocabulary = Vocabulary(tuple(Category(tuple(names)) for names in labels))
    sizes = [len(names) for names in labels]
    return TextTable(
        vocabulary,
        np.asarray(clip_text_embed, np.float32),
        np.asarray(text_embed, np.float32),
        np.repeat(np.arange(len(sizes)), sizes),
        np.array(vocabulary.isthing),
        np.array(seen),
    )


class Golden:
    """One case of the official model, and its inputs as `classify` takes them."""

    def __init__(self, folder: Path, case: str) -> None:
        self.arrays = np.load(folder / f"golden_{case}.npz")
        self.label = case.startswith("label")
        head = "category_head" if self.label else "word_head"
        config = json.loads((folder / "small_config.json").read_text())
        # Of the labels, the first four are the training labels.
        labels = json.loads(str(self.arrays["labels_json"]))
        self.table = table(
            labels,
            self["clip_head.clip_text_embed"],
            self[f"{head}.text_embed"],
            [names in config["train_labels"] for names in labels],
        )
        self.category_logits = (
            self["category_head.cal_pred_logits"][0, :, :-1]
            if self.label
            else self["word_head.cal_pred_open_logits"][0]
        )
        self.logit_scale = float(self["decoder.logit_scale"])
        self.clip_logit_scale = min(float(np.exp(config["clip"]["logit_scale_param"])), 100.0)
        self.null_embed = self["category_head.null_embed"] if self.label else None
        self.pred_logits = None if self.label else self["decoder.pred_logits"][0]
        self.alpha, self.beta = config["captioner_clip_head_alpha_beta"][case.split("_", maxsplit=1)[0]]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest, goldens: Path) -> Golden:
    return Golden(goldens, request.param)


def test_class_log_probabilities_are_the_official_ones(golden: Golden) -> None:
    result = classify(
        golden["decoder.mask_embed"][0],
        golden["clip_head.mask_embed"][0],
        golden.table,
        logit_scale=golden.logit_scale,
        clip_logit_scale=golden.clip_logit_scale,
        alpha=golden.alpha,
        beta=golden.beta,
        null_embed=golden.null_embed,
        pred_logits=golden.pred_logits,
    )
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, golden["post.mask_cls_results"], rtol=0, atol=1e-5)


def test_category_and_clip_logits_are_the_official_ones(golden: Golden) -> None:
    starts = golden.table.starts
    category = category_logits(
        golden["decoder.mask_embed"][0], golden.table.unit_text_embed, starts, golden.logit_scale
    )
    np.testing.assert_allclose(category, golden.category_logits, rtol=0, atol=1e-5)
    clip = category_logits(
        golden["clip_head.mask_embed"][0],
        golden.table.unit_clip_text_embed,
        starts,
        golden.clip_logit_scale,
    )
    np.testing.assert_allclose(clip, golden["clip_head.mask_pred_open_logits"][0], rtol=0, atol=1e-5)


def test_the_fusion_is_the_official_one(golden: Golden) -> None:
    weight = np.where(golden.table.seen, golden.alpha, golden.beta)
    fused = fuse(golden.category_logits, golden["clip_head.mask_pred_open_logits"][0], weight)
    # The official fusion is not normalised until the softmax after it.
    official = np.exp(np.float64(golden["clip_head.fused_open_logits"][0]))
    np.testing.assert_allclose(np.exp(fused), official / official.sum(-1, keepdims=True), rtol=1e-5)


def test_a_category_scores_by_its_best_name() -> None:
    # Cosines with (1, 0): 0.6 and 0.8 for the first category, -1 for the second.
    text = np.array([[3, 4], [4, 3], [-2, 0]], np.float32)
    logits = category_logits(np.array([[5, 0]], np.float32), unit(text), np.array([0, 2]), 10.0)
    np.testing.assert_allclose(logits, [[8.0, -10.0]], rtol=1e-6)


def test_seen_categories_take_alpha_and_others_beta() -> None:
    # Two categories: log-odds are what remains of a softmax. Category -> 2, CLIP -> -1.
    embed = np.eye(2, dtype=np.float32)
    for seen, share in ((True, 0.25), (False, 0.5)):
        result = classify(
            embed[:1],
            embed[1:],
            table([["a"], ["b"]], embed, embed, [seen, seen]),
            logit_scale=2.0,
            clip_logit_scale=1.0,
            alpha=0.25,
            beta=0.5,
            pred_logits=np.array([[0.0, -30.0]]),
        )
        np.testing.assert_allclose(result[0, 0] - result[0, 1], 2 * (1 - share) - share, rtol=1e-5)


@pytest.mark.parametrize("label", [True, False])
def test_a_certain_nothing_leaves_the_floor_of_1e_minus_8_to_every_category(label: bool) -> None:
    embed = np.array([[1.0, 0.0]], np.float32)
    result = classify(
        embed,
        embed,
        table([["a"], ["b"]], -np.ones((2, 2)), -np.ones((2, 2)), [True, False]),
        logit_scale=100.0,
        clip_logit_scale=100.0,
        alpha=0.3,
        beta=0.7,
        null_embed=embed if label else None,
        pred_logits=None if label else np.array([[-100.0, 100.0]]),
    )
    np.testing.assert_allclose(result, [[np.log(1e-8), np.log(1e-8), 0.0]], atol=1e-6)


def test_probabilities_that_underflow_give_no_nan_and_the_right_order() -> None:
    # Both softmaxes underflow in float32 where logits are 200 apart; in float64 arithmetic on logarithms
    # the first category keeps 0.7 * 200 - 0.3 * 200 over the second.
    category = np.array([[100.0, -100.0]], np.float32)
    clip = np.array([[-100.0, 100.0]], np.float32)
    fused = fuse(category, clip, np.array([0.3, 0.3]))
    np.testing.assert_allclose(fused, [[0.0, -80.0]], atol=1e-4)


def test_a_mask_embedding_of_zeros_is_equally_far_from_everything() -> None:
    logits = category_logits(np.zeros((1, 3), np.float32), unit(np.eye(3)), np.array([0, 1, 2]), 100.0)
    np.testing.assert_array_equal(logits, np.zeros((1, 3)))


def test_a_single_category_gets_all_that_is_not_nothing() -> None:
    embed = np.ones((1, 2), np.float32)
    result = classify(
        embed,
        embed,
        table([["a", "b"]], np.eye(2), np.eye(2), [False]),
        logit_scale=50.0,
        clip_logit_scale=50.0,
        alpha=0.3,
        beta=0.7,
        pred_logits=np.array([[0.0, 0.0]]),
    )
    np.testing.assert_allclose(np.exp(result), [[0.5, 0.5]], rtol=1e-6)


@pytest.mark.parametrize("both", [True, False])
def test_exactly_one_model_says_what_is_nothing(both: bool) -> None:
    embed = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match="exactly one"):
        classify(
            embed,
            embed,
            table([["a"]], embed, embed, [False]),
            logit_scale=1.0,
            clip_logit_scale=1.0,
            alpha=0.3,
            beta=0.7,
            null_embed=embed if both else None,
            pred_logits=embed if both else None,
        )


@given(st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_log_softmax_sums_to_one_at_any_size_of_logits(rows: list[list[float]]) -> None:
    result = log_softmax(np.array(rows, np.float32))
    np.testing.assert_allclose(np.exp(np.float64(result)).sum(-1), 1.0, rtol=1e-5)


def test_ten_thousand_names_classify_in_well_under_a_second() -> None:
    generator = np.random.default_rng(0)
    names = table(
        [[f"name {i}", f"synonym {i}"] for i in range(5000)],
        generator.normal(size=(10_000, 768)),
        generator.normal(size=(10_000, 256)),
        [False] * 5000,
    )
    started = time.perf_counter()
    result = classify(
        generator.normal(size=(100, 256)),
        generator.normal(size=(100, 768)),
        names,
        logit_scale=50.0,
        clip_logit_scale=100.0,
        alpha=0.3,
        beta=0.7,
        null_embed=generator.normal(size=(1, 256)),
    )
    assert result.shape == (100, 5001)
    # 0.05 s on one core of a laptop; a loop over names in Python takes many seconds.
    assert time.perf_counter() - started < 2
