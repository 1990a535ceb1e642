"""Batches follow from the seed and the step alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from tiny_training import CONFIG, Squares

from reference.training.errors import TrainingError
from reference.training.loader import Samples, batches, check_truth


def images(config=CONFIG, *, start=0, rank=0, world=1, captions=False):
    return list(batches(Squares(), config, captions=captions, start=start, rank=rank, world=world))


def test_every_epoch_has_every_image_once_in_an_order_of_its_own():
    samples = Samples(Squares(), CONFIG, captions=False)
    epochs = [[samples.index(5 * epoch + place) for place in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_run_that_starts_later_sees_what_it_would_have_seen():
    whole, rest = images(), images(start=4)
    assert len(whole) == 6
    assert len(rest) == 2
    for one, other in zip(whole[4:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a.masks, b.masks) for a, b in zip(one.targets, other.targets, strict=True))


def test_two_processes_share_the_batch_of_one():
    config = replace(CONFIG, batch=4)
    shares = zip(
        images(config), images(config, rank=0, world=2), images(config, rank=1, world=2), strict=True
    )
    for whole, first, second in shares:
        assert torch.equal(whole.images, torch.cat([first.images, second.images]))


def test_a_step_in_parts_has_the_same_images():
    whole = images(replace(CONFIG, batch=4))
    parts = images(replace(CONFIG, batch=4, accumulate=2))
    assert len(parts) == 12
    assert torch.equal(whole[1].images, torch.cat([parts[2].images, parts[3].images]))


def test_another_seed_is_another_run():
    assert not torch.equal(images()[0].images, images(replace(CONFIG, seed=1))[0].images)


def test_reading_in_other_processes_changes_nothing():
    config = replace(CONFIG, steps=2)
    read = list(islice(images(replace(config, workers=1)), 2))
    assert all(torch.equal(a.images, b.images) for a, b in zip(images(config), read, strict=True))


def test_the_words_of_a_caption_come_with_the_image():
    batch = images(replace(CONFIG, steps=1), captions=True)[0]
    assert all("square" in target.words and "disc" in target.words for target in batch.targets)
    assert all(target.words == () for target in images(replace(CONFIG, steps=1))[0].targets)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(TrainingError, match="a batch of 2 does not divide among 3 processes"):
        images(world=3)


def test_data_without_segments_or_captions_is_refused_before_training():
    class Bare(Squares):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), panoptic=None, captions=())

    class Silent(Squares):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), captions=())

    with pytest.raises(TrainingError, match="no segments"):
        check_truth(Bare(), captions=False)
    with pytest.raises(TrainingError, match="no captions"):
        check_truth(Silent(), captions=True)
